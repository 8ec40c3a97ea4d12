"""A proposed greenline.toml fits the repository, is read without a problem, and tells no lies."""

from __future__ import annotations

import json

import pytest

from tasks.config import Settings, load_settings
from tasks.config.proposal import propose_settings


def all_programs(_name: str) -> bool:
    return True


def no_programs(_name: str) -> bool:
    return False


@pytest.fixture
def folder(tmp_path):
    """Make a folder of files, given as text or as data for JSON."""

    def make(files, name="roman"):
        root = tmp_path / name
        root.mkdir()
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, str) else json.dumps(content)
            (root / path).write_text(text, encoding="utf-8")
        return root

    return make


def proposed(root, programs=all_programs, **more) -> tuple[Settings, str]:
    text = propose_settings(root, programs=programs, **more)
    return load_settings(text, "greenline.toml", {}), text


PYTEST = "python -m pytest -q --junitxml={report}"


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": ""},
        {"setup.py": ""},
        {"setup.cfg": ""},
        {"tox.ini": ""},
        {"roman.py": "", "test_roman.py": "import unittest"},
        {"tests/test_roman.py": ""},
        {"test/roman_test.py": ""},
        {"pyproject.toml": "broken ["},
        {"pyproject.toml": "\xff"},
    ],
)
def test_python_projects_are_tested_with_pytest(folder, files):
    settings, text = proposed(folder(files))
    assert settings.project.test == PYTEST
    assert settings.project.test_files == "python -m pytest -q {files} --junitxml={report}"
    assert "a Python project" in text


def test_a_src_layout_is_found_by_its_tests_without_being_installed(folder):
    settings, _ = proposed(folder({"pyproject.toml": "", "src/roman/__init__.py": ""}))
    assert settings.project.test == f"env PYTHONPATH=src {PYTEST}"


@pytest.mark.parametrize("name", ["pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg"])
def test_a_src_layout_that_pytest_knows_already_is_left_to_it(folder, name):
    files = {name: "pythonpath = src", "src/x.py": "", "test_x.py": ""}
    assert proposed(folder(files))[0].project.test == PYTEST


def test_python3_is_proposed_where_there_is_no_python(folder):
    settings, _ = proposed(folder({"setup.py": ""}), lambda name: name == "python3")
    assert settings.project.test == PYTEST.replace("python ", "python3 ")


@pytest.mark.parametrize(
    ("files", "lint"),
    [
        ({"pyproject.toml": "[tool.ruff]"}, ("ruff check {file}",)),
        ({"ruff.toml": "", "setup.py": ""}, ("ruff check {file}",)),
        ({".flake8": "", "setup.py": ""}, ("flake8 {file}",)),
        ({"setup.py": ""}, ()),
    ],
)
def test_a_linter_is_set_where_the_project_uses_one_that_is_here(folder, files, lint):
    root = folder(files)
    assert proposed(root)[0].project.lint == lint
    assert proposed(root, no_programs)[0].project.lint == ()


JEST = (
    "env JEST_JUNIT_OUTPUT_FILE={report} JEST_JUNIT_ADD_FILE_ATTRIBUTE=true "
    "npx --no-install jest --reporters=jest-junit"
)
NODE_TESTS = [
    (
        {"devDependencies": {"vitest": "1"}},
        "npx --no-install vitest run --reporter=junit --outputFile={report}",
    ),
    (
        {"devDependencies": {"jest": "29", "jest-junit": "16"}},
        JEST,
    ),
    (
        {"scripts": {"test": "node --test"}},
        "node --test --test-reporter=junit --test-reporter-destination={report}",
    ),
    ({"dependencies": {"express": "4"}}, None),
    ([], None),
]


@pytest.mark.parametrize(("package", "test"), NODE_TESTS)
def test_node_projects_are_tested_with_their_own_runner(folder, package, test):
    settings, text = proposed(folder({"package.json": package}))
    assert settings.project.test == test
    assert (settings.project.test_files is None) is (test is None)
    assert "a Node project" in text


@pytest.mark.parametrize(
    ("lock", "setup"),
    [
        ("package-lock.json", "npm ci"),
        ("yarn.lock", "yarn install --frozen-lockfile"),
        ("pnpm-lock.yaml", "pnpm install --frozen-lockfile"),
        ("README", "npm install"),
    ],
)
def test_node_projects_are_set_up_by_their_lock_file(folder, lock, setup):
    files = {"package.json": {"devDependencies": {"jest": "29"}}, lock: ""}
    assert proposed(folder(files))[0].project.setup == setup


def test_a_node_project_that_needs_nothing_needs_no_setup(folder):
    root = folder({"package.json": {"scripts": {"test": "node --test"}}})
    assert proposed(root)[0].project.setup is None


def test_what_jest_lacks_is_told(folder):
    assert (
        "npm install --save-dev jest-junit"
        in proposed(folder({"package.json": {"devDependencies": {"jest": "29"}}}))[1]
    )


def test_go_projects_are_tested_with_gotestsum(folder):
    root = folder({"go.mod": "module x"})
    settings, text = proposed(root)
    assert settings.project.test == "gotestsum --junitfile {report} ./..."
    assert "go install" not in text
    assert "go install" in proposed(root, no_programs)[1]


@pytest.mark.parametrize("files", [{}, {"README.md": "x"}, {"Cargo.toml": ""}, {"pom.xml": ""}])
def test_an_unknown_project_gets_a_template_to_fill_in(folder, files):
    settings, text = proposed(folder(files))
    assert settings.project.test is None
    assert '# test = "' in text


def test_a_project_of_two_kinds_is_told(folder):
    settings, text = proposed(folder({"setup.py": "", "package.json": {}, "go.mod": ""}))
    assert settings.project.test == PYTEST
    assert "also looks like a Node project and a Go project" in text


@pytest.mark.parametrize("name", ["roman", "it's", 'a"b', "a\\b", "über", "a b", "x\x7fy", "😀"])
def test_the_folders_name_is_the_projects_whatever_it_is(folder, name):
    assert proposed(folder({}, name))[0].project.name == name


@pytest.mark.parametrize("branch", ["main", "release/1.x", None])
def test_the_default_branch_is_the_target(folder, branch):
    assert proposed(folder({}), default_branch=branch)[0].delivery.target == branch


def test_nobody_plays_a_role_until_somebody_says_so(folder):
    settings, text = proposed(folder({}))
    assert settings.roles.tara_aider is settings.roles.devon_aider is None
    assert "TaraAider" in text


def test_every_commented_setting_is_a_good_setting(folder):
    """Taking the `#` away from a proposed line leaves settings that are read."""
    root = folder({"pyproject.toml": "[tool.ruff]\n[tool.mypy]", "src/x.py": ""})
    text = propose_settings(root, programs=no_programs)
    opened = "\n".join(
        line.removeprefix("# ") if " = " in line or line.startswith("# [agents") else line
        for line in text.splitlines()
    )
    # An agent must be in its section, so its lines follow the section's name as they stand.
    settings = load_settings(opened, "greenline.toml", {})
    assert settings.project.lint == ("ruff check {file}",)
    assert settings.agent_for("TaraAider").env == ("API_KEY",)
