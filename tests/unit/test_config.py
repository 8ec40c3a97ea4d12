"""Settings are read as they are written; nothing in them is ignored, and all problems are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.exceptions import InputError
from tasks.config import ConfigError, Settings, load_settings, pyproject_section
from tasks.config.model import ADAPTERS, NEEDED
from tasks.metering.endpoint import Endpoint

FULL = """
[project]
name = "roman"
test = "python -m pytest -q --junitxml={report}"
test_files = "python -m pytest -q {files} --junitxml={report}"
full_suite = "subtask"
lint = ["ruff check {file}"]
typecheck = ["mypy"]
build = ["make build"]
setup = "npm ci"
timeout_s = 60

[agents.oracle]
adapter = "command"
command = ["python", "tools/oracle.py"]
env = ["API_KEY"]

[roles]
TaraAider = "oracle"
DevonAider = "replay"

[limits]
attempts = 5
agent_timeout_s = 90.5
on_stuck = "fail"
transient = 0

[delivery]
mode = "merge"
target = "main"
"""
BUDGETS = ("step_tokens", "step_usd", "run_tokens", "run_usd", "week_tokens", "week_usd")
ORACLE = '[agents.oracle]\nadapter = "command"\ncommand = ["x"]\n'


def load(text: str | None = "", **environ: str) -> Settings:
    return load_settings(text, "greenline.toml", environ)


def problems(text: str, source: str = "greenline.toml", **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(text, source, environ)
    return {problem.path: problem.message for problem in caught.value.problems}


# --- reading -------------------------------------------------------------------------------------


def test_everything_the_contract_names_is_read():
    settings = load(FULL)
    project, limits = settings.project, settings.limits
    assert project.name == "roman"
    assert project.test == "python -m pytest -q --junitxml={report}"
    assert project.test_files == "python -m pytest -q {files} --junitxml={report}"
    assert (project.full_suite, project.setup, project.timeout_s) == ("subtask", "npm ci", 60)
    assert (project.lint, project.typecheck, project.build) == (
        ("ruff check {file}",),
        ("mypy",),
        ("make build",),
    )
    assert (limits.attempts, limits.agent_timeout_s, limits.transient) == (5, 90.5, 0)
    assert (limits.on_stuck, settings.delivery.mode, settings.delivery.target) == (
        "fail",
        "merge",
        "main",
    )
    assert settings.agent("oracle").command == ("python", "tools/oracle.py")
    assert settings.agent("oracle").env == ("API_KEY",)


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "[project]\n[roles]\n"])
def test_without_settings_there_are_the_defaults(text):
    settings = load(text)
    assert settings.project.test is None
    assert (settings.project.full_suite, settings.project.timeout_s) == ("step", 600)
    assert (settings.limits.attempts, settings.limits.agent_timeout_s) == (3, 1800)
    assert (settings.limits.transient, settings.limits.on_stuck) == (10, "fail")
    assert settings.limits.approval_timeout_s == 30 * 24 * 3600
    assert (settings.delivery.mode, settings.delivery.target) == ("branch", None)


def test_a_pyproject_has_the_same_settings_under_its_tool():
    own = FULL.replace("[", "[tool.greenline.", 1)
    for section in ("agents.oracle", "roles", "limits", "delivery"):
        own = own.replace(f"[{section}]", f"[tool.greenline.{section}]")
    text = '[project]\nname = "other"\n' + own
    assert load_settings(text, "pyproject.toml", {}) == load(FULL)
    assert load_settings(text, "/some/where/pyproject.toml", {}) == load(FULL)


def test_a_pyproject_of_somebody_else_says_nothing():
    assert load_settings('[project]\nname = "x"\n[tool]\n', "pyproject.toml", {}) == load()


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ('[tool.greenline.project]\ntest = "x"\n', True),
        ("[tool.ruff]\n", False),
        ('[project]\nname = "greenline"\n', False),
        ("broken [", False),
        ("[tool.greenline]\n", False),
    ],
)
def test_whether_a_pyproject_has_settings(text, has):
    assert (pyproject_section(text) == text) is has


def test_a_broken_pyproject_that_speaks_of_greenline_is_told():
    with pytest.raises(ConfigError, match="no valid TOML"):
        pyproject_section("[tool.greenline\n")


@pytest.mark.parametrize("key", ["on_stuck = 'fail'", "on_stuck = 'ask'", "transient = 4"])
def test_the_last_two_limits_may_stand_outside_their_section(key):
    assert (
        load(f"{key}\n[limits]\nattempts = 2\n").limits
        == load(f"[limits]\nattempts = 2\n{key}\n").limits
    )


def test_a_limit_given_in_both_places_is_told():
    found = problems("transient = 4\n[limits]\ntransient = 5\n")
    assert "given in [limits] too" in found["transient"]


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load(FULL).limits = None  # type: ignore[assignment]


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "named"),
    [
        ("projct = 1", "projct", "did you mean 'project'?"),
        ("x = 1", "x", "known here: project, agents, roles, limits, delivery"),
        ("[project]\ntets = 'x'", "project.tets", "did you mean 'test'?"),
        ("project = 5", "project", "must be a mapping with the keys name, test"),
        ("[project]\nname = ''", "project.name", "must not be empty"),
        ("[project]\ntest = 5", "project.test", "must be text"),
        ("[project]\ntest = 'pytest'", "project.test", "lacks {report}"),
        ("[project]\ntest = ''", "project.test", "names no program"),
        ("[project]\ntest = 'a {report} {files}'", "project.test", "{files}"),
        ("[project]\ntest = 'a && b {report}'", "project.test", "without a shell"),
        ("[project]\ntest_files = 'a {report}'", "project.test_files", "lacks {files}"),
        ("[project]\ntest_files = 'a {files}'", "project.test_files", "lacks {report}"),
        ("[project]\nfull_suite = 'never'", "project.full_suite", "'step', 'subtask' or 'run'"),
        ("[project]\nfull_suite = 'run'", "project", "needs `test_files`"),
        ("[project]\nlint = 'ruff'", "project.lint", "must be a list, received 'ruff'"),
        ("[project]\nlint = ['a', 'b {x}']", "project.lint[1]", "{x}"),
        ("[project]\nlint = ['']", "project.lint[0]", "names no program"),
        ("[project]\ntypecheck = ['mypy {file}']", "project.typecheck[0]", "known here: none"),
        ("[project]\nbuild = ['a | b']", "project.build[0]", "without a shell"),
        ("[project]\nsetup = ['npm', 'ci']", "project.setup", "must be text"),
        ("[project]\ntimeout_s = 0", "project.timeout_s", "must be greater than 0"),
        ("[project]\ntimeout_s = '60'", "project.timeout_s", "must be a valid number"),
        ("[project]\ntimeout_s = nan", "project.timeout_s", "must be a finite number"),
        ("[project]\ntimeout_s = true", "project.timeout_s", "received true (a boolean)"),
        ("[limits]\nattempts = 0", "limits.attempts", "greater than or equal to 1"),
        ("[limits]\nattempts = 2.5", "limits.attempts", "must be a valid integer"),
        ("[limits]\nattempts = '3'", "limits.attempts", "must be a valid integer"),
        ("[limits]\nattempts = true", "limits.attempts", "must be a valid integer"),
        ("[limits]\ntransient = -1", "limits.transient", "greater than or equal to 0"),
        ("[limits]\nagent_timeout_s = inf", "limits.agent_timeout_s", "must be a finite number"),
        ("[limits]\non_stuck = 'wait'", "limits.on_stuck", "'fail' or 'ask'"),
        ("[limits]\napproval_timeout_s = 0", "limits.approval_timeout_s", "greater than 0"),
        (
            "[limits]\napproval_timeout_s = 1e12",
            "limits.approval_timeout_s",
            "less than or equal to",
        ),
        ("[limits]\nattempt = 3", "limits.attempt", "did you mean 'attempts'?"),
        ("[delivery]\nmode = 'email'", "delivery.mode", "'branch' or 'merge'"),
        ("[delivery]\ntarget = '-x'", "delivery.target", "no branch name"),
        ("[delivery]\ntarget = 'a..b'", "delivery.target", "no branch name"),
        ("[delivery]\ntarget = 'a b'", "delivery.target", "no branch name"),
        ("[delivery]\ntarget = 'x.lock'", "delivery.target", "no branch name"),
        ("[roles]\nTara = 'replay'", "roles.Tara", "did you mean 'TaraAider'?"),
        ("[roles]\nTaraAider = ''", "roles.TaraAider", "must not be empty"),
        ("[roles]\nTaraAider = 'nobody'", "roles.TaraAider", "there are: claude, codex, replay"),
        ("[roles]\nTaraAider = 'command'", "roles.TaraAider", "needs settings"),
        (ORACLE + "[roles]\nTaraAider = 'orcle'", "roles.TaraAider", "did you mean 'oracle'?"),
        ("[agents]\nx = 5", "agents.x", "must be a mapping with the keys adapter, command, env"),
        ("[agents.x]\n", "agents.x.adapter", "is missing"),
        ("[agents.x]\nadapter = 'comand'", "agents.x.adapter", "did you mean 'command'?"),
        ("[agents.x]\nadapter = 'command'", "agents.x", "needs `command`"),
        ("[agents.x]\nadapter = 'command'\ncommand = []", "agents.x.command", "names no program"),
        ("[agents.x]\nadapter = 'command'\ncommand = ['']", "agents.x.command", "no program"),
        ("[agents.x]\nadapter = 'command'\ncommand = 'a b'", "agents.x.command", "must be a list"),
        ("[agents.x]\nadapter = 'replay'\ncommand = ['a']", "agents.x", "takes no `command`"),
        ("[agents.x]\nadapter = 'replay'\nenv = ['A']", "agents.x", "takes no `env`"),
        ("[agents.x]\nadapter = 'replay'\nmodel = 'm'", "agents.x", "takes no `model`"),
        ("[agents.x]\nadapter = 'direct'\nmodel = 'm'\nenv = ['A']", "agents.x", "takes no `env`"),
        ("[agents.x]\nadapter = 'aider'", "agents.x", "needs `model`"),
        ("[agents.x]\nadapter = 'acp'\nmodel = 'm'", "agents.x", '["opencode", "acp"]'),
        (
            "[agents.x]\nadapter = 'claude'\nbase_url = 'api.x.com'",
            "agents.x.base_url",
            "no address",
        ),
        (
            "[agents.x]\nadapter = 'claude'\nbase_url = 'file:///x'",
            "agents.x.base_url",
            "no address",
        ),
        (
            "[agents.x]\nadapter = 'claude'\nbase_url = 'https://u:p@x.com'",
            "agents.x.base_url",
            "holds a password",
        ),
        (
            "[agents.x]\nadapter = 'claude'\napi_key_env = 'sk-ant-1'",
            "agents.x.api_key_env",
            "no variable's name",
        ),
        (
            "[agents.x]\nadapter = 'claude'\napi_key_env = 'K'\nenv = ['K']",
            "agents.x",
            "does not get to see",
        ),
        ("[agents.'a b']\nadapter = 'replay'", "agents.a b", "no name for an agent"),
        ("[agents.''] \nadapter = 'replay'", "agents.", "no name for an agent"),
        ("[agents.replay]\nadapter = 'command'\ncommand = ['a']", "agents.replay", "another name"),
        ("[agents.claude]\nadapter = 'replay'", "agents.claude", "another name"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_work(text, path, named):
    assert named in problems(text)[path]


@pytest.mark.parametrize(
    "name", ["A=b", "1A", "A B", "", "$A", "GREENLINE_DATABASE_URL", "PREFECT_API_KEY"]
)
def test_only_names_of_the_users_own_variables_are_passed_to_an_agent(name):
    assert "agents.oracle.env" in problems(ORACLE + f"env = {json.dumps(['OK', name])}\n")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[delivery]\nmode = 'pull-request'", "delivery.mode"),
    ],
)
def test_what_this_version_lacks_is_told_and_not_ignored(text, path):
    """An option that does nothing would be worse than an error."""
    found = problems(text)
    assert list(found) == [path]
    assert "not available in this version" in found[path]


@pytest.mark.parametrize("adapter", [name for name in ADAPTERS if name not in NEEDED])
def test_an_adapter_that_needs_no_settings_plays_by_its_name(adapter):
    assert load(f"[roles]\nTaraAider = '{adapter}'").agent_for("TaraAider").adapter == adapter


def test_where_a_model_is_and_which_key_it_takes():
    """The provider's own address by the model's name; a key of one's own address is named."""
    settings = load(
        "[agents.a]\nadapter = 'aider'\nmodel = 'anthropic/claude-opus-4-5'\n"
        "[agents.b]\nadapter = 'direct'\nmodel = 'gpt-5'\n"
        "[agents.c]\nadapter = 'codex'\nbase_url = 'http://127.0.0.1:1/v1'\n"
        "[agents.d]\nadapter = 'command'\ncommand = ['x']\n"
    )
    found = {name: settings.agent(name).endpoint for name in "abcd"}
    assert found["a"] == Endpoint("https://api.anthropic.com", "ANTHROPIC_API_KEY", "anthropic")
    assert found["b"] == Endpoint("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert found["c"] == Endpoint("http://127.0.0.1:1/v1")
    assert found["d"] is None


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("written", "read"), [("400000", 400000), ("2.5", 2.5)])
def test_budgets_are_read(budget, written, read):
    assert getattr(load(f"[limits]\n{budget} = {written}").limits, budget) == read


def test_broken_toml_is_one_message_with_its_line():
    with pytest.raises(ConfigError, match=r"greenline\.toml: is no valid TOML: .*line 2"):
        load("[project]\ntest = \n")


def test_a_tool_that_is_no_table_is_told():
    found = problems("[tool]\ngreenline = 3\n", "pyproject.toml")
    assert "must be a table" in found["tool.greenline"]


def test_problems_of_a_pyproject_have_their_full_path():
    text = "[tool.greenline.limits]\nattempts = 0\n"
    assert list(problems(text, "pyproject.toml")) == ["tool.greenline.limits.attempts"]


def test_all_problems_are_told_at_once():
    found = problems(
        "colour = 1\n[project]\ntest = 'x'\n[limits]\nattempts = 0\nstep_usd = 0\n"
        "[agents.a]\nadapter = 'codecs'\n[roles]\nTaraAider = 'b'\nDevonAider = 'a'\n",
        GREENLINE_LIMITS_TRANSIENT="many",
        GREENLINE_PROJECT_TEXT="x",
    )
    assert set(found) == {
        "colour",
        "project.test",
        "limits.attempts",
        "limits.step_usd",
        "agents.a.adapter",
        "roles.TaraAider",
        "GREENLINE_LIMITS_TRANSIENT",
        "GREENLINE_PROJECT_TEXT",
    }


def test_bad_settings_are_bad_input():
    with pytest.raises(InputError) as caught:
        load("x = 1")
    assert caught.value.exit_code == 2


# --- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("PROJECT_NAME", "n", lambda s: s.project.name == "n"),
        ("PROJECT_TEST", "x {report}", lambda s: s.project.test == "x {report}"),
        ("PROJECT_TIMEOUT_S", "1.5", lambda s: s.project.timeout_s == 1.5),
        ("PROJECT_LINT", '["a", "b {file}"]', lambda s: s.project.lint == ("a", "b {file}")),
        ("PROJECT_LINT", "[]", lambda s: s.project.lint == ()),
        ("PROJECT_FULL_SUITE", "run", lambda s: s.project.full_suite == "run"),
        ("LIMITS_ATTEMPTS", "7", lambda s: s.limits.attempts == 7),
        ("LIMITS_AGENT_TIMEOUT_S", "7", lambda s: s.limits.agent_timeout_s == 7),
        ("LIMITS_TRANSIENT", "2", lambda s: s.limits.transient == 2),
        ("TRANSIENT", "2", lambda s: s.limits.transient == 2),
        ("ON_STUCK", "fail", lambda s: s.limits.on_stuck == "fail"),
        ("ROLES_TARAAIDER", "replay", lambda s: s.agent_for("TaraAider").name == "replay"),
        ("DELIVERY_MODE", "branch", lambda s: s.delivery.mode == "branch"),
        ("DELIVERY_TARGET", "release/1", lambda s: s.delivery.target == "release/1"),
        ("AGENTS_ORACLE_COMMAND", '["y", "z"]', lambda s: s.agent("oracle").command == ("y", "z")),
        ("AGENTS_ORACLE_ENV", '["B"]', lambda s: s.agent("oracle").env == ("B",)),
        ("AGENTS_NEW_ONE_ADAPTER", "replay", lambda s: s.agent("new_one").adapter == "replay"),
        ("LIMITS_ATTEMPTS", "", lambda s: s.limits.attempts == 5),
        ("LIMITS_ATTEMPTS", "  ", lambda s: s.limits.attempts == 5),
        ("HOME", "/x", lambda s: s == load(FULL)),
        ("DATABASE_URL", "postgresql://x", lambda s: s == load(FULL)),
    ],
)
def test_the_environment_lays_its_settings_over_the_files(variable, value, read):
    assert read(load(FULL, **{f"GREENLINE_{variable}": value}))


def test_an_agent_is_found_by_its_name_in_capitals():
    text = '[agents."my-agent.v2"]\nadapter = "command"\ncommand = ["x"]\n'
    settings = load(text, GREENLINE_AGENTS_MY_AGENT_V2_COMMAND='["y"]')
    assert settings.agent("my-agent.v2").command == ("y",)


def test_the_environment_serves_without_a_file():
    assert load(None, GREENLINE_PROJECT_TEST="x {report}").require_test_command() == "x {report}"


def test_other_programs_variables_are_left_alone():
    assert load(FULL, LIMITS_ATTEMPTS="9", PROJECT_TEST="x") == load(FULL)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("LIMITS_ATEMPTS", "5", "did you mean 'ATTEMPTS'?"),
        ("LIMITS_ATTEMPTS", "many", "must be a valid integer, received 'many'"),
        ("LIMITS_ATTEMPTS", "2.5", "must be a valid integer"),
        ("LIMITS_ATTEMPTS", "0", "greater than or equal to 1"),
        ("LIMITS_AGENT_TIMEOUT_S", "nan", "finite"),
        ("ON_STUCK", "wait", "'fail' or 'ask'"),
        ("PROJECT_TEST", "pytest", "lacks {report}"),
        ("PROJECT_LINT", "ruff check", "must be a JSON list"),
        ("PROJECT_LINT", "{}", "must be a JSON list"),
        ("PROJECT_LINT", "[5]", "must be text"),
        ("PROJECT_", "x", "known here: GREENLINE_PROJECT_NAME"),
        ("DELIVERY_MODE", "pull-request", "not available in this version"),
        ("ROLES_TARAAIDER", "nobody", "there is no agent 'nobody'"),
        ("AGENTS_ORACLE_COMMAND", "python x.py", "must be a JSON list"),
        ("AGENTS_ORACLE", "x", "GREENLINE_AGENTS_<NAME>_ADAPTER"),
        ("AGENTS_ORACLE_MODELS", "x", "names no setting of an agent"),
        ("AGENTS_ORACLE_ADAPTER", "aidar", "did you mean 'aider'?"),
    ],
)
def test_a_wrong_variable_is_named_itself(variable, value, named):
    found = problems(FULL, **{f"GREENLINE_{variable}": value})
    (path,) = (p for p in found if p.startswith(f"GREENLINE_{variable}"))
    assert named in found[path]


def test_a_section_that_is_no_table_does_not_break_the_environments():
    assert "project" in problems("project = 5", GREENLINE_PROJECT_TEST="x {report}")


# --- who plays whom ------------------------------------------------------------------------------


def test_roles_are_played_by_their_agents():
    settings = load(FULL)
    assert settings.agent_for("TaraAider").name == "oracle"
    assert settings.agent_for("DevonAider").adapter == "replay"


def test_an_override_plays_every_role():
    settings = load(FULL)
    assert {settings.agent_for(r, "replay").name for r in ("TaraAider", "DevonAider")} == {"replay"}


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("nobody", "there is no agent 'nobody'; there are: oracle, claude, codex, replay"),
        ("oracel", "did you mean 'oracle'?"),
        ("aider", "needs settings"),
        ("command", "needs settings"),
    ],
)
def test_an_unknown_agent_is_refused_with_those_there_are(name, named):
    with pytest.raises(InputError, match=r"agent|adapter") as caught:
        load(FULL).agent_for("TaraAider", name)
    assert named in str(caught.value)


def test_a_role_without_an_agent_says_how_to_give_it_one():
    with pytest.raises(InputError, match=r'\[roles\] DevonAider = "…", or give one .* --agent'):
        load(ORACLE).agent_for("DevonAider")


def test_a_missing_test_command_says_how_to_set_it():
    with pytest.raises(InputError, match="greenline init"):
        load(ORACLE).require_test_command()
    assert "pytest" in load(FULL).require_test_command()


def test_settings_can_be_recorded_and_hold_no_value_of_a_variable():
    dumped = load(FULL, API_KEY="secret").model_dump(mode="json", by_alias=True)
    assert dumped["roles"] == {"TaraAider": "oracle", "DevonAider": "replay"}
    assert "secret" not in json.dumps(dumped)
    assert Settings.model_validate(dumped | {"project": dumped["project"]}) == load(FULL)


def test_the_settings_of_this_repository_are_fine_if_it_has_any():
    """Greenline's own pyproject has no settings that another project would not get away with."""
    path = Path(__file__).parents[2] / "pyproject.toml"
    load_settings(path.read_text(encoding="utf-8"), "pyproject.toml", {})
