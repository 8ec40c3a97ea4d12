"""docs/settings.md names every setting, and what it says of each can be written."""

from __future__ import annotations

import json
import re

import pytest

from tasks.config import Settings, load_settings
from tasks.config_docs import DOCUMENT, main, settings_page

_ROW = re.compile(
    r"^\| `(?P<key>\w+)` \| (?P<kind>.+?) \| (?P<default>.+?) \| .+ \| `(?P<variable>\w.*)` \|$"
)


def documented():
    """The rows of the page as (section, key, kind, default, variable)."""
    rows, section = [], ""
    for line in settings_page().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`[]")
        elif found := _ROW.match(line):
            rows.append((section, *found.group("key", "kind", "default", "variable")))
    return rows


def test_the_published_page_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == settings_page()
    assert main(["--check"]) == 0


def test_a_page_that_is_not_up_to_date_is_told_and_written(tmp_path, capsys):
    path = tmp_path / "settings.md"
    assert main(["--check", "--file", str(path)]) == 1
    path.write_text("# Settings\n", encoding="utf-8")
    assert main(["--check", "--file", str(path)]) == 1
    assert "python -m tasks.config_docs" in capsys.readouterr().err
    assert main(["--file", str(path)]) == 0
    assert main(["--check", "--file", str(path)]) == 0


def test_every_key_of_every_section_is_there_with_its_default():
    told = {(section, key): default for section, key, _, default, _ in documented()}
    defaults = Settings().model_dump(mode="json", by_alias=True)
    for section in ("project", "roles", "limits", "delivery"):
        for key, default in defaults[section].items():
            written = told.pop((section, key))
            if default is None:
                assert written == "not set"
            else:
                assert json.loads(written.strip("`")) == default
    assert {key for section, key in told if section == "agents.<name>"} == {
        "adapter",
        "command",
        "env",
        "model",
        "base_url",
        "api_key_env",
        "api",
        "network",
    }
    assert len(told) == 8


_EXAMPLES = {
    "test": "run {report}",
    "test_files": "run {files} {report}",
    "setup": "make ready",
    "adapter": "command",
    "TaraAider": "replay",
    "DevonAider": "replay",
    "base_url": "https://models.example/v1",
    "api_key_env": "A_KEY",
    "context_tokens": 7000,
}


@pytest.mark.parametrize(("section", "key", "kind", "default", "variable"), documented())
def test_each_variable_sets_its_key_to_a_value_of_the_kind_that_is_told(
    section, key, kind, default, variable
):
    if kind.startswith("list"):
        value = ["/srv/tools"] if "paths" in kind else ["TERM"]
    elif kind.startswith("`"):
        value = json.loads(kind.split(" or ")[-1].strip("`"))
    elif "number" in kind:
        value = _EXAMPLES.get(key, 7)
    elif kind == "true or false":
        value = default == "`false`"
    else:
        value = _EXAMPLES.get(key, "something")
    written = json.dumps(value) if isinstance(value, list) else str(value)
    environ = {variable.replace("<NAME>", "MINE"): written}
    if section.startswith("agents"):
        environ = {  # an adapter that takes each of the keys
            "GREENLINE_AGENTS_MINE_ADAPTER": "acp",
            "GREENLINE_AGENTS_MINE_COMMAND": '["x"]',
            "GREENLINE_AGENTS_MINE_MODEL": "m",
        } | environ
        if key == "adapter":
            del environ["GREENLINE_AGENTS_MINE_MODEL"]
    if key == "full_suite":
        environ["GREENLINE_PROJECT_TEST_FILES"] = "run {files} {report}"
    settings = load_settings(None, "greenline.toml", environ).model_dump(mode="json", by_alias=True)
    name, _, inner = section.partition(".")
    found = settings[name]["mine"] if inner else settings[name]
    assert found[key] == value


def test_the_variables_of_the_whole_program_disturb_no_settings():
    names = re.findall(
        r"^\| `(GREENLINE_[A-Z_]+)` \| [^|]+ \| [^|]+ \|$", settings_page(), re.MULTILINE
    )
    assert {"GREENLINE_HOME", "GREENLINE_DATABASE_URL", "GREENLINE_SERVICES_IDLE_S"} <= set(names)
    assert load_settings(None, "greenline.toml", dict.fromkeys(names, "1")) == Settings()
