"""The models of a project's settings: what each section of `greenline.toml` may say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from storage.exceptions import InputError
from tasks.config.commands import command_problem
from tasks.metering.endpoint import Endpoint, Provider, provider_of
from tasks.plan.model import AssignedTo
from tasks.problems import did_you_mean, received

FILE_NAME = "greenline.toml"

_MODEL = ("model", "base_url", "api_key_env")
_SPEAKS: dict[str, Provider] = {"claude": "anthropic", "codex": "openai"}
ADAPTERS: dict[str, tuple[str, ...]] = {
    "aider": ("command", "env", *_MODEL, "api", "network"),
    "claude": ("command", "env", *_MODEL, "network"),
    "codex": ("command", "env", *_MODEL, "network"),
    "acp": ("command", "env", *_MODEL, "api", "network"),
    "direct": (*_MODEL, "api"),
    "command": ("command", "env", *_MODEL, "network"),
    "replay": (),
}
"""The adapters there are, each with the settings it takes."""

NEEDED: dict[str, tuple[str, ...]] = {
    "aider": ("model",),
    "acp": ("command", "model"),
    "direct": ("model",),
    "command": ("command",),
}
"""What an adapter cannot do without; one that is not here needs no settings at all."""

_EXAMPLES = {
    "command": "the program and its arguments as a list, such as",
    "model": "the model's name as its provider has it, such as",
}
_FOR_EXAMPLE = {
    ("acp", "command"): '["opencode", "acp"]',
    ("command", "command"): '["python", "tools/agent.py"]',
    ("aider", "model"): '"openai/gpt-5"',
}

_TEN_YEARS_S = 315_360_000

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What `git check-ref-format --branch` refuses; kept here so that a typo is told before a run.
_BAD_BRANCH = re.compile(r"^[-/.]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|[/.]$|\.lock(?:/|$)|/\.|^@$")


def _command(*, required: tuple[str, ...] = (), allowed: tuple[str, ...] = ()) -> AfterValidator:
    """Check a command line and its placeholders."""

    def check(command: str) -> str:
        problem = command_problem(command, required=required, allowed=allowed)
        if problem:
            raise ValueError(problem)
        return command

    return AfterValidator(check)


def _from_the_root(path: str) -> str:
    """Check a path that is the same wherever a command runs."""
    if not path.startswith(("/", "~/")) or "\0" in path:
        raise ValueError(f"{received(path)} is no absolute path: begin it with '/' or '~/'")
    return path


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True)]
FolderPath = Annotated[
    str,
    AfterValidator(_from_the_root),
    WithJsonSchema({"type": "string", "format": "path"}),
]
Budget = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]


def no_adapter(name: str) -> str:
    """Say that an adapter does not exist."""
    there = ", ".join(ADAPTERS)
    return f"there is no adapter '{name}'{did_you_mean(name, list(ADAPTERS))}; there are: {there}"


def agent_problem(name: str, agents: list[str]) -> str | None:
    """Say why a name is no agent's; None when it is one.

    Args:
        name: the name somebody gave.
        agents: the agents that the settings define.
    """
    plain = [adapter for adapter in ADAPTERS if adapter not in NEEDED]
    if name in agents or name in plain:
        return None
    if name in ADAPTERS:
        needs = " and ".join(f"`{key}`" for key in NEEDED[name])
        return (
            f"the adapter '{name}' needs settings: write a section [agents.<name>] with "
            f'adapter = "{name}" and {needs}, and give its name'
        )
    there = list(dict.fromkeys([*agents, *plain]))
    return f"there is no agent '{name}'{did_you_mean(name, there)}; there are: {', '.join(there)}"


class _Section(BaseModel):
    """What all sections have in common: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectSettings(_Section):
    """How to test, check and set up the project."""

    name: Text | None = Field(default=None, description="Default: the folder's name.")
    test: Annotated[str, _command(required=("report",))] | None = Field(
        default=None, description="Runs all tests; {report} is where the JUnit XML goes."
    )
    test_files: Annotated[str, _command(required=("files", "report"))] | None = Field(
        default=None, description="Runs the test files {files} only."
    )
    full_suite: Literal["step", "subtask", "run"] = Field(
        default="step", description="How often the whole suite is run."
    )
    lint: tuple[Annotated[str, _command(allowed=("file",))], ...] = Field(
        default=(), description="Checks of the step's file {file}."
    )
    typecheck: tuple[Annotated[str, _command()], ...] = Field(
        default=(), description="Type checks of the whole project."
    )
    build: tuple[Annotated[str, _command()], ...] = Field(
        default=(), description="Builds the project."
    )
    setup: Annotated[str, _command()] | None = Field(
        default=None, description="Run once in each new sandbox."
    )
    timeout_s: Seconds = Field(default=600, description="Longest time of one test run, in seconds.")
    test_network: bool = Field(
        default=False, description="Whether tests and checks have the network in the fence, too."
    )

    @model_validator(mode="after")
    def _early_tests_need_a_command(self) -> ProjectSettings:
        if self.full_suite != "step" and self.test_files is None:
            raise ValueError(
                f"full_suite = '{self.full_suite}' needs `test_files`: the command that runs a "
                "subtask's own test files in between"
            )
        return self


@dataclass(frozen=True)
class AgentSettings:
    """A program that plays roles: an adapter and what the adapter needs to know.

    Attributes:
        name: what the agent is called.
        adapter: how it is run; one of ADAPTERS.
        command: the program and its arguments; empty: the adapter's own program.
        env: names of variables of the user's environment that it is given.
        model: the model's name as its provider has it; None: the program's own choice.
        base_url: the address of the model's API; None: the provider's own.
        api_key_env: the variable of the user's environment that holds the key for it.
        api: whose API is spoken; None: what the adapter, the address or the model's name says.
        network: it has this machine's network in the fence, too.
    """

    name: str
    adapter: str
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    api: Provider | None = None
    network: bool = False

    @property
    def endpoint(self) -> Endpoint | None:
        """Where its model is; None: it has none that Greenline knows of."""
        if self.base_url is None and self.adapter in {"command", "replay"}:
            return None
        provider = self.api or _SPEAKS.get(self.adapter) or provider_of(self.model, self.base_url)
        return Endpoint.of(provider, self.base_url, self.api_key_env)


class AgentSection(_Section):
    """A section `[agents.<name>]`."""

    adapter: str = Field(description=f"How it is run; one of: {', '.join(ADAPTERS)}.")
    command: tuple[str, ...] = Field(
        default=(),
        description="The program and its arguments, as a list; default: the adapter's own program.",
    )
    env: tuple[str, ...] = Field(
        default=(), description="Names of variables of your environment that it is given."
    )
    model: Text | None = Field(default=None, description="The model's name as its provider has it.")
    base_url: Text | None = Field(
        default=None,
        description="Address of the model's API; default: OpenAI's, or Anthropic's for its models.",
    )
    api_key_env: str | None = Field(
        default=None,
        description="Name of the variable of your environment that holds the key for it; default: "
        "OPENAI_API_KEY or ANTHROPIC_API_KEY, and none with a `base_url` of your own.",
    )
    api: Literal["openai", "anthropic"] | None = Field(
        default=None,
        description="Whose API is spoken, where neither address nor model's name says it.",
    )
    network: bool = Field(
        default=False,
        description="Whether it has the network in the fence; without, it reaches its model alone.",
    )

    @field_validator("adapter")
    @classmethod
    def _adapter_exists(cls, adapter: str) -> str:
        if adapter not in ADAPTERS:
            raise ValueError(no_adapter(adapter))
        return adapter

    @field_validator("command")
    @classmethod
    def _command_has_a_program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not command[0].strip() or any("\0" in word for word in command):
            raise ValueError(
                f'names no program: received {list(command)}; such as ["python", "agent.py"]'
            )
        return command

    @field_validator("env")
    @classmethod
    def _env_is_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(
                    f"{received(name)} is no variable's name: give names only, such as 'API_KEY'; "
                    "the values come from your environment"
                )
            if name.upper().startswith(("GREENLINE_", "PREFECT_")):
                raise ValueError(f"'{name}' is Greenline's own and never passed on to an agent")
        return names

    @field_validator("base_url")
    @classmethod
    def _base_url_is_one(cls, url: str | None) -> str | None:
        parts = urlsplit(url) if url is not None else None
        if parts is not None and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError(
                f"{received(url)} is no address of an API: such as 'https://api.openai.com/v1'"
            )
        if parts is not None and (parts.password or parts.username):
            raise ValueError("holds a password: name the variable that holds it as `api_key_env`")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _api_key_env_is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ValueError(
                f"{received(name)[:12]}… is no variable's name: the key itself has no place here, "
                "name the variable that holds it, such as 'OPENAI_API_KEY'"
            )
        return name

    @model_validator(mode="after")
    def _settings_fit_the_adapter(self) -> AgentSection:
        known = ADAPTERS[self.adapter]
        # What a recorded run has of every agent, not set as it is, is nothing anybody gave.
        given = {
            key for key in self.model_fields_set if getattr(self, key) not in (None, (), False)
        }
        unused = sorted(given - {"adapter", *known})
        if unused:
            takes = ", ".join(known) or "no further settings"
            raise ValueError(
                f"the adapter '{self.adapter}' takes no `{unused[0]}`; it takes: {takes}"
            )
        for key in NEEDED.get(self.adapter, ()):
            if not getattr(self, key):
                example = _FOR_EXAMPLE.get((self.adapter, key), '"claude-sonnet-4-5"')
                raise ValueError(
                    f"the adapter '{self.adapter}' needs `{key}`: {_EXAMPLES[key]} {example}"
                )
        if self.api_key_env in self.env:
            raise ValueError(
                f"'{self.api_key_env}' is the model's key, which the agent does not get to see: "
                "take it out of `env`"
            )
        return self


class Roles(_Section):
    """Who plays whom."""

    tara_aider: Text | None = Field(
        default=None, alias="TaraAider", description="The agent that does the test steps."
    )
    devon_aider: Text | None = Field(
        default=None, alias="DevonAider", description="The agent that does the other steps."
    )


class Limits(_Section):
    """Bounds that keep a run from going on for ever."""

    attempts: Count = Field(default=3, ge=1, description="Attempts that an agent gets at a step.")
    agent_timeout_s: Seconds = Field(
        default=1800, description="Longest time of one agent, in seconds."
    )
    context_tokens: Count = Field(
        default=100_000, ge=2_000, description="Tokens that an agent's prompt may have."
    )
    transient: Count = Field(
        default=10, ge=0, description="How many transient failures of a step are waited out."
    )
    step_tokens: Budget = Field(default=None, description="Tokens that one step may use.")
    step_usd: Budget = Field(default=None, description="What one step may cost, in USD.")
    run_tokens: Budget = Field(default=None, description="Tokens that one run may use.")
    run_usd: Budget = Field(default=None, description="What one run may cost, in USD.")
    week_tokens: Budget = Field(
        default=None, description="Tokens that the project may use in a calendar week (UTC)."
    )
    week_usd: Budget = Field(
        default=None, description="What the project may cost in a calendar week (UTC), in USD."
    )
    on_stuck: Literal["fail", "ask"] = Field(
        default="fail", description="Whether a stuck step fails its subtask, or a person is asked."
    )
    fence: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether agents and tests are fenced: where bubblewrap is, always, or never.",
    )
    fence_readable: tuple[FolderPath, ...] = Field(
        default=(), description="Paths in home folders that fenced programs can read, too."
    )
    fence_writable: tuple[FolderPath, ...] = Field(
        default=(), description="Paths besides their sandbox that fenced programs can write."
    )
    approval_timeout_s: Seconds = Field(
        default=2_592_000,
        le=_TEN_YEARS_S,
        description="How long a person may take to answer, in seconds; then the run fails.",
    )


class Delivery(_Section):
    """Where the result of a run goes."""

    mode: Literal["branch", "merge"] = Field(
        default="branch", description="Keep the branch, or merge it into the target."
    )
    target: Text | None = Field(
        default=None,
        description="The branch to deliver to; default: the repository's default branch.",
    )
    approval: bool = Field(
        default=False, description="Whether a person has to approve before anything is delivered."
    )

    @field_validator("target")
    @classmethod
    def _target_is_a_branch(cls, target: str | None) -> str | None:
        if target is not None and _BAD_BRANCH.search(target):
            raise ValueError(f"{received(target)} is no branch name; such as 'main'")
        return target


class Settings(_Section):
    """All settings of a project."""

    project: ProjectSettings = Field(default=ProjectSettings(), description="How to test it.")
    agents: dict[str, AgentSection] = Field(default_factory=dict, description="Who can play.")
    roles: Roles = Field(default=Roles(), description="Who plays whom.")
    limits: Limits = Field(default=Limits(), description="Bounds.")
    delivery: Delivery = Field(default=Delivery(), description="Where the result goes.")

    def agent(self, name: str) -> AgentSettings:
        """Return the settings of the agent with this name.

        An adapter's name serves as an agent's name where it needs no settings.

        Raises:
            InputError: there is no such agent; the message says which there are.
        """
        section = self.agents.get(name)
        if section is not None:
            return AgentSettings(name, **section.model_dump())
        problem = agent_problem(name, list(self.agents))
        if problem:
            raise InputError(problem)
        return AgentSettings(name, adapter=name)

    def agent_for(self, role: AssignedTo, override: str | None = None) -> AgentSettings:
        """Return the settings of the agent that plays a role.

        Args:
            role: TaraAider or DevonAider.
            override: the name of an agent that plays every role in this run.

        Raises:
            InputError: nobody plays the role, or there is no such agent.
        """
        played_by = {"TaraAider": self.roles.tara_aider, "DevonAider": self.roles.devon_aider}
        name = override or played_by[role]
        if name is None:
            raise InputError(
                f'no agent plays {role}: name one in {FILE_NAME}, [roles] {role} = "…", '
                "or give one for every role with --agent"
            )
        return self.agent(name)

    def require_test_command(self) -> str:
        """Return the command that runs all tests; raises InputError that says how to set it."""
        if self.project.test is None:
            raise InputError(
                f"no test command is set: write one into {FILE_NAME}, such as [project] "
                'test = "python -m pytest -q --junitxml={report}"; '
                "`greenline init` writes one by looking at the repository"
            )
        return self.project.test
