"""What `greenline doctor` checks: each finding says what was found and how to mend it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.operation import doctor_services
from flows.operation.finding import Finding
from flows.operation.services import Services
from flows.redaction import without_passwords
from storage.database import URL_VARIABLE, Database
from storage.exceptions import GreenlineError, InputError
from storage.home import Home
from tasks.agents.installed import KNOWN, find, how_to_install, version_of
from tasks.agents.program import ProgramAgent
from tasks.agents.registry import make_agent
from tasks.config import Settings
from tasks.config.commands import expand_command
from tasks.fence.available import Unavailable, bubblewrap
from tasks.metering.endpoint import KEYS
from tasks.metering.prices import Prices
from tasks.project_commands import lacks_pytest, program_found
from tasks.repository import UserRepository
from tasks.repository_settings import read_settings

_OLDEST_GIT = (2, 38)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 if all is well, else 4 for what Greenline itself needs, 2 for bad input."""
    return max((finding.exit_code for finding in findings if not finding.ok), default=0)


def examine(repo: str | None) -> list[Finding]:
    """Check what Greenline needs, what agents need, and a repository if there is one.

    Starts the ledger and the Prefect server if they are not running, as a run would.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding("python", ok=True, found=python), _git()]
    try:
        home = Home.current().ensure()
    except GreenlineError as error:
        mend = "set GREENLINE_HOME to a folder that you can write"
        return [*findings, _wrong("home", str(error), mend)]
    findings.append(Finding("home", ok=True, found=str(home.path)))
    findings.append(doctor_services.disk(home))
    findings += _services(home)
    findings += [_program(name) for name in KNOWN]
    findings += [_keys(), _prices(), _fence()]
    return findings + _repository(repo, home)


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
        database = Database(services.postgres_url())
        report = database.init_db()
        found = f"answers, schema version {report.version} ({report.state})"
        findings += [
            Finding("ledger", ok=True, found=found),
            doctor_services.clock(database),
        ]
    except GreenlineError as error:
        named = os.environ.get(URL_VARIABLE, "").strip()
        mend = f"set {URL_VARIABLE} right, or unset it" if named else f"see {services.postgres.log}"
        told = without_passwords(str(error))
        findings.append(Finding("ledger", ok=False, found=told, mend=mend))
    try:
        url = services.prefect_api_url()
        findings.append(Finding("prefect", ok=True, found=url))
        findings += doctor_services.operation(home, url)
    except GreenlineError as error:
        mend = f"see {services.prefect.log}"
        findings.append(Finding("prefect", ok=False, found=str(error), mend=mend))
    return findings


def _program(name: str) -> Finding:
    """Look for the program of an agent; no run needs one that its settings do not name."""
    program = find(name)
    if program is None:
        how = f"not installed; should you want it: {how_to_install(name)}"
        return Finding(name, ok=True, found=how)
    version = version_of(program) or "of an unknown version"
    return Finding(name, ok=True, found=f"{version}, {program}")


def _keys() -> Finding:
    """Say which models' keys are set, and nothing of what they are."""
    told = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in KEYS.values()]
    return Finding("model keys", ok=True, found=", ".join(told))


def _prices() -> Finding:
    try:
        return Finding("prices", ok=True, found=Prices.current().versions)
    except GreenlineError as error:
        return _wrong("prices", str(error), "mend that file, or move it away")


def _fence() -> Finding:
    """Look for what fences agents and tests; most runs go on without it."""
    found = bubblewrap()
    if isinstance(found, Unavailable):
        told = f"none: {found.why}; should you want one: {found.mend}"
        return Finding("fence", ok=True, found=told)
    return Finding("fence", ok=True, found=f"bubblewrap, {found.path}")


def _required_fence(settings: Settings) -> list[Finding]:
    """Look whether a run would have the fence that the settings demand, if they do."""
    if settings.limits.fence != "on":
        return []
    found = bubblewrap()
    if not isinstance(found, Unavailable):
        return []
    return [Finding('fence = "on"', ok=False, found=found.why, mend=found.mend)]


def _agent(name: str, settings: Settings) -> Finding:
    """Look at an agent of the repository's settings: whether a run could start it."""
    check = f"agent {name}"
    try:
        agent = make_agent(name, settings)
        if isinstance(agent, ProgramAgent):
            agent.require_program()
    except GreenlineError as error:
        return _wrong(check, str(error), f"see [agents.{name}] in greenline.toml")
    return Finding(check, ok=True, found=agent.adapter)


def _wrong(check: str, found: str, mend: str) -> Finding:
    return Finding(check, ok=False, found=found, mend=mend, exit_code=InputError.exit_code)


def _repository(repo: str | None, home: Home) -> list[Finding]:
    """Check a repository: the named one, or this folder's if it is in one."""
    try:
        repository = UserRepository.open(Path(repo or "."))
    except GreenlineError as error:
        if repo is None:
            return []
        return [_wrong("repository", str(error), "give another --repo")]
    findings = [
        Finding("repository", ok=True, found=f"{repository.path} at {repository.head[:10]}")
    ]
    findings.append(doctor_services.hooks(repository.path, home))
    try:
        settings, notes = read_settings(repository, repository.head, None)
        settings.require_test_command()
    except GreenlineError as error:
        mend = "run `greenline init`, or mend greenline.toml"
        return [*findings, _wrong("settings", str(error), mend)]
    findings.append(Finding("settings", ok=True, found="; ".join(notes) or "committed"))
    findings += _required_fence(settings)
    findings.append(_test_command(settings, repository))
    findings += [_agent(name, settings) for name in settings.agents]
    return findings


def _test_command(settings: Settings, repository: UserRepository) -> Finding:
    """Look for the test command's program as a run would; nothing of the repository is run."""
    command = settings.require_test_command()
    words = expand_command(command, report="report.xml")
    if not program_found(words[0], repository.path):
        mend = f"install {words[0]}, or change project.test"
        return _wrong("test command", f"{command} ({words[0]} is not on PATH)", mend)
    # What the project's set-up installs is not there yet.
    if settings.project.setup is None and (lacking := lacks_pytest(words, repository.path)):
        return _wrong("test command", command, lacking)
    return Finding("test command", ok=True, found=command)
