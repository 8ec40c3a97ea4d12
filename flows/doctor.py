"""What `greenline doctor` checks: each finding says what was found and how to mend it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flows.services import Services
from storage.database import Database
from storage.exceptions import GreenlineError
from storage.home import Home
from tasks.agents.registry import make_agent
from tasks.config.commands import expand_command
from tasks.prepare import read_settings
from tasks.repository import UserRepository

_OLDEST_GIT = (2, 38)


@dataclass(frozen=True)
class Finding:
    """One check: whether it is well, what was found, and how to mend it."""

    check: str
    ok: bool
    found: str
    mend: str = ""


def examine(repo: str | None) -> list[Finding]:
    """Check Python, git, the home, the ledger, Prefect, and a repository if there is one.

    Starts the ledger and the Prefect server if they are not running, as a run would.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding("python", ok=True, found=python), _git()]
    try:
        home = Home.current().ensure()
    except GreenlineError as error:
        return [*findings, Finding("home", ok=False, found=str(error), mend="set GREENLINE_HOME")]
    findings.append(Finding("home", ok=True, found=str(home.path)))
    findings += _services(home)
    return findings + _repository(repo)


def _git() -> Finding:
    program = shutil.which("git")
    if program is None:
        return Finding("git", ok=False, found="not on PATH", mend="install git")
    told = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    version = tuple(int(part) for part in told.split()[2].split(".")[:2])
    if version < _OLDEST_GIT:
        mend = "install git 2.38 or newer (merging without a checkout)"
        return Finding("git", ok=False, found=told, mend=mend)
    return Finding("git", ok=True, found=told)


def _services(home: Home) -> list[Finding]:
    services = Services(home)
    findings: list[Finding] = []
    try:
        report = Database(services.postgres_url()).init_db()
        found = f"answers, schema version {report.version} ({report.state})"
        findings.append(Finding("ledger", ok=True, found=found))
    except GreenlineError as error:
        mend = f"see {services.postgres.log}, or unset GREENLINE_DATABASE_URL"
        findings.append(Finding("ledger", ok=False, found=str(error), mend=mend))
    try:
        findings.append(Finding("prefect", ok=True, found=services.prefect_api_url()))
    except GreenlineError as error:
        mend = f"see {services.prefect.log}, or unset PREFECT_API_URL"
        findings.append(Finding("prefect", ok=False, found=str(error), mend=mend))
    return findings


def _repository(repo: str | None) -> list[Finding]:
    """Check a repository: the named one, or this folder's if it is in one."""
    try:
        repository = UserRepository.open(Path(repo or "."))
    except GreenlineError as error:
        if repo is None:
            return []
        return [Finding("repository", ok=False, found=str(error), mend="give another --repo")]
    findings = [
        Finding("repository", ok=True, found=f"{repository.path} at {repository.head[:10]}")
    ]
    try:
        settings, notes = read_settings(repository, repository.head, None)
        command = settings.require_test_command()
    except GreenlineError as error:
        mend = "run `greenline init`, or mend greenline.toml"
        return [*findings, Finding("settings", ok=False, found=str(error), mend=mend)]
    findings.append(Finding("settings", ok=True, found="; ".join(notes) or "committed"))
    program = expand_command(command, report="report.xml")[0]
    known = shutil.which(program) is not None or (repository.path / program).is_file()
    mend = "" if known else "install it, or change project.test"
    findings.append(Finding("test command", ok=known, found=command, mend=mend))
    for name in settings.agents:
        try:
            adapter = make_agent(name, settings).adapter
            findings.append(Finding(f"agent {name}", ok=True, found=adapter))
        except GreenlineError as error:
            mend = f"mend [agents.{name}] in greenline.toml"
            findings.append(Finding(f"agent {name}", ok=False, found=str(error), mend=mend))
    return findings
