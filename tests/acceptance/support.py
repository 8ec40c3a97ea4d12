"""What acceptance tests share: the command line as a process, repositories, snapshots."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from git import Actor

from tests.acceptance import warm

AUTHOR = Actor("Test", "test@example.com")


class Greenline:
    """The command line in a home of its own; `cold`: each time by a new Python."""

    def __init__(self, home: Path, *, cold: bool = False) -> None:
        self.home = home
        self.cold = cold
        self._ledger = ""
        self.env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GREENLINE_", "PREFECT_", "GIT_"))
        }
        self.env |= {
            "HOME": str(home.parent),
            "GREENLINE_HOME": str(home),
            "GREENLINE_SERVICES_IDLE_S": "600",
        }

    def __call__(self, *arguments, cwd=None, env=None, timeout=240):
        words = list(map(str, arguments))
        options = {
            "cwd": cwd or self.home.parent,
            "env": self.env | (env or {}),
            "timeout": timeout,
        }
        if not self.cold and warm.suits(options["env"]):
            return warm.run(words, **options)
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def json(self, *arguments, ok=(0,), **options):
        done = self(*arguments, "--json", **options)
        assert done.returncode in ok, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def sql(self, query):
        """The rows of a query, asked with psycopg as anybody could."""
        with self.ledger() as connection:
            return connection.execute(query).fetchall()

    def sql_do(self, statement):
        """Change something in the ledger, as anybody could."""
        with self.ledger() as connection:
            connection.execute(statement)

    def ledger(self):
        """A connection to the ledger; where it is, is asked once for as long as it answers there."""
        import psycopg

        if self._ledger:
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(self._ledger)
        self._ledger = self("ledger", "url").stdout.strip()
        return psycopg.connect(self._ledger)


def write_files(root, files):
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(content))


def settings(agent, **limits):
    """A greenline.toml in which a Python program plays both roles, with this Python's pytest."""
    bounds = "\n".join(f"{key} = {value}" for key, value in limits.items())
    python = json.dumps(sys.executable)
    return (
        f"[project]\ntest = '{python} -m pytest -q --junitxml={{report}}'\n"
        f'[agents.scripted]\nadapter = "command"\ncommand = [{python}, {json.dumps(str(agent))}]\n'
        '[roles]\nTaraAider = "scripted"\nDevonAider = "scripted"\n'
        f"[limits]\n{bounds}\n"
    )


def snapshot(root):
    """Everything of a repository, its .git included: path, mode, content."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        relative = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[relative] = ("link", str(path.readlink()))
        elif path.is_file():
            found[relative] = (path.stat().st_mode, path.read_bytes())
    return found
