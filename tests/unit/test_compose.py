"""compose.yaml, the Dockerfile and what they name: programs, variables, files that exist."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = YAML(typ="safe").load(TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def environment_of_the_image():
    (words,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in words.replace("\\\n", " ").split())


def names_in_the_code():
    """Every string of the program that could be the name of a variable."""
    found = set()
    for folder in ("flows", "tasks", "storage", "analytics"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= set(re.findall(r"[A-Z][A-Z0-9_]{5,}", node.value))
    return found


def test_every_variable_means_something_to_whoever_gets_it():
    """One that nobody reads would look as if it did something."""
    from prefect.settings import Settings

    prefect = {
        name.upper()
        for name in re.findall(r"prefect_[a-z_]+", str(Settings.model_json_schema()), re.IGNORECASE)
    }
    given = set(environment_of_the_image())
    for service in ("prefect", "deploy", "worker"):
        given |= set(SERVICES[service]["environment"])
    ours = names_in_the_code()
    unknown = {
        name
        for name in given - {"PYTHONUNBUFFERED", "DO_NOT_TRACK"}
        if name not in ours and name not in prefect
    }
    assert unknown == set()


def test_variables_to_fill_in_are_in_the_example():
    """What .env has to say is in docker/example.env, and nothing else."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    example = (ROOT / "docker/example.env").read_text(encoding="utf-8")
    offered = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    assert asked == offered | {"POSTGRES_CONNECTIONS"}
    required = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    assert required == set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)), (
        "empty in the example"
    )


def test_the_pool_and_the_commands_are_the_programs_own():
    """The worker serves the pool of prefect.yaml; each command is one that the image installs."""
    from flows.operation.deployments import WORK_POOL

    pools = {
        each["work_pool"]["name"]
        for each in YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]
    }
    command = SERVICES["worker"]["command"]
    assert pools == {WORK_POOL} == {command[command.index("--pool") + 1]}
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = set(tomllib.load(file)["project"]["scripts"])
    assert "greenline" in scripts and "greenline up --no-worker" in SERVICES["deploy"]["command"][2]


def test_what_is_published_is_published_on_loopback_only():
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            assert str(port).startswith("127.0.0.1:"), name


def test_services_wait_for_what_they_need_and_say_how_they_are():
    """Who is waited for by its health has a check of it."""
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], needed


def test_files_that_are_copied_are_there_and_sent():
    """The engine gets nothing else: no repository, no environment, no secret."""
    sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    copied = {
        word
        for words in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
        for word in words.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / each).exists() for each in copied)
    assert (ROOT / SERVICES["postgres"]["volumes"][1].split(":")[0]).stat().st_mode & 0o111


def test_no_secret_is_in_them():
    """Whatever is a password comes from .env."""
    assert "PASSWORD" not in DOCKERFILE and "AUTH" not in DOCKERFILE
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            named = "PASSWORD" in name or "AUTH" in name
            for secret in [str(value)] if named else re.findall(r"://\w+:([^/]*)@", str(value)):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]*\}", secret), name


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="there is no docker-compose here"
)
def test_compose_itself_understands_it(tmp_path):
    """Resolved with the example's variables."""
    filled = {"POSTGRES_PASSWORD": "a", "LEDGER_PASSWORD": "b", "PREFECT_AUTH": "c:d"}
    done = subprocess.run(
        ["docker-compose", "-f", ROOT / "compose.yaml", "config", "--quiet"],
        cwd=tmp_path, env={**os.environ, **filled}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
