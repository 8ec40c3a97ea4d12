"""The keeper: a small process, one per home, that stops the services when nobody uses them.

`python -m storage.keeper --home FOLDER`, started by whichever command uses the services. It polls
(see `storage.usage` for how use is seen), stops what runs after the idle time and exits; it does
so as well when the home is gone. What `greenline up` keeps it starts anew (`storage.revival`). It
also keeps the services' logs bounded.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from storage import detached, usage
from storage.embedded import EmbeddedPostgres, Postmaster
from storage.exceptions import GreenlineError, ServiceError
from storage.home import Home
from storage.revival import Reviver
from storage.supervision import bound_log, end, open_private, process_birth, try_lock

_LONGEST_POLL_S = 2.0
_SHORTEST_POLL_S = 0.05
_LOCK_WAIT_S = 3.0
_STOP_WITHIN_S = 5.0
_QUESTION_TIMEOUT_S = 30.0
_START_TIMEOUT_S = 120.0
_COUNT = "--count-sessions"
_START = "--start-postgres"

log = logging.getLogger("keeper")


class Keeper:
    """Watches one home.

    Attributes:
        home: the home.
        known: the processes seen running, so that they can be ended when their home is gone.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.postgres = EmbeddedPostgres(home)
        self.known: set[detached.Detached | Postmaster] = set()
        self.reviver = Reviver(
            home, lambda: start_postgres_by_another_process(home, self._idle_s())
        )
        self._in_use = open_private(home, usage.in_use_file(home), os.O_RDWR)
        self._stamp = os.fstat(self._in_use).st_mtime_ns
        self._last_use = time.monotonic()  # the wall clock may be set while we wait

    def run(self) -> None:
        """Watch until there is nothing left to watch."""
        while True:
            time.sleep(min(_LONGEST_POLL_S, max(_SHORTEST_POLL_S, self._idle_s() / 4)))
            if not self._home_is_there():
                self._end_known()
                return
            try:
                self._look()
                if self._idle_is_over():
                    return
            except (GreenlineError, OSError):
                log.exception("looking after %s failed; trying again", self.home.path)

    def _look(self) -> None:
        """Note what runs, start anew what is to run and does not, and bound the logs."""
        running = self._running()
        detached_ones = [each for each in running if isinstance(each, detached.Detached)]
        revived = self.reviver.look(detached_ones, postgres=len(detached_ones) < len(running))
        self.known = set(self._running() if revived else running)
        for name in revived:
            log.info("%s is started again", name)
        for file in self.home.logs.glob("*.log"):
            bound_log(self.home, file)

    def _running(self) -> list[detached.Detached | Postmaster]:
        postmaster = self.postgres.postmaster()
        return [*detached.all_running(self.home), *([postmaster] if postmaster else [])]

    def _idle_is_over(self) -> bool:
        """Stop the services if they have been idle long enough; True if so.

        The lock is kept until this process ends: who comes meanwhile waits, then starts anew.
        """
        if not try_lock(self._in_use, fcntl.LOCK_EX):
            self._last_use = time.monotonic()
            return False
        stop = False
        try:
            stop = self._is_idle()
            if stop:
                stopped = ", ".join(stop_services(self.home))
                log.info("unused for %.0f s; stopped: %s", self._idle_for(), stopped or "nothing")
        except (GreenlineError, OSError):
            stop = False  # nobody may wait for us
            raise
        finally:
            if not stop:
                fcntl.flock(self._in_use, fcntl.LOCK_UN)
        return stop

    def _is_idle(self) -> bool:
        stamp = os.fstat(self._in_use).st_mtime_ns
        if stamp != self._stamp:
            self._stamp, self._last_use = stamp, time.monotonic()
        if not self.known and not self.reviver.missing:
            return True  # nothing runs and nobody is about to start anything
        if usage.pinned(self.home) or self._idle_for() < self._idle_s():
            return False
        if sessions_by_another_process(self.home) > 0:
            self._last_use = time.monotonic()
            return False
        return True

    def _idle_for(self) -> float:
        return time.monotonic() - self._last_use

    def _idle_s(self) -> float:
        try:
            return float(os.pread(self._in_use, 64, 0))
        except ValueError:
            return usage.DEFAULT_IDLE_S

    def _home_is_there(self) -> bool:
        try:
            found = (self.home.services / usage.IN_USE).stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._in_use))

    def _end_known(self) -> None:
        log.info("%s is gone; ending what ran there", self.home.path)
        for process in self.known:
            if isinstance(process, Postmaster):
                # Its data is gone: nothing to write any more.
                signals = (signal.SIGQUIT, signal.SIGKILL)
                end(process.pid, process.birth, *((each, _STOP_WITHIN_S) for each in signals))
            else:
                detached.end_process(process)


def stop_services(home: Home) -> list[str]:
    """Stop all services of the home (not the keeper); return their names.

    Raises:
        ServiceError: one does not end.
    """
    services = [found.name for found in reversed(detached.all_running(home))]
    stopped = [name for name in services if detached.stop(home, name)]
    if EmbeddedPostgres(home).stop():
        stopped.append("postgres")
    return stopped


def stop_keeper(home: Home) -> bool:
    """End the home's keeper; False if there was none."""
    found = _running_keeper(home) if usage.keeper_is_running(home) else None
    return found is not None and end(*found, (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


def _running_keeper(home: Home) -> tuple[int, str] | None:
    """Return pid and birth of the keeper that took the lock last, if it is still there."""
    try:
        pid, birth = usage.keeper_lock_file(home).read_text(encoding="ascii").split()
    except ValueError:
        return None  # it writes them this moment
    return (int(pid), birth) if process_birth(int(pid)) == birth else None


def sessions_by_another_process(home: Home) -> int:
    """Ask for PostgreSQL's sessions in a process of its own, so that the keeper stays small."""
    try:
        done = _by_another_process(home, _COUNT, _QUESTION_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        log.warning("PostgreSQL did not say within %.0f s who is connected", _QUESTION_TIMEOUT_S)
        return 0
    if done.returncode != 0:
        log.warning("sessions could not be counted: %s", done.stderr.strip())
        return 0
    return int(done.stdout)


def start_postgres_by_another_process(home: Home, idle_s: float) -> None:
    """Start the embedded PostgreSQL, in a process of its own as well.

    Args:
        home: the home.
        idle_s: the idle seconds that the last user asked for, so that they hold on.

    Raises:
        ServiceError: it does not come up.
    """
    try:
        done = _by_another_process(
            home, _START, _START_TIMEOUT_S, {usage.IDLE_VARIABLE: str(idle_s)}
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"PostgreSQL did not start within {_START_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise ServiceError(f"PostgreSQL does not start: {done.stderr.strip()}")


def _by_another_process(
    home: Home, what: str, timeout_s: float, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "storage.keeper", "--home", str(home.path), what],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **(more or {})},
        timeout=timeout_s,
        check=False,
    )


def keep(home: Home) -> None:
    """Be the home's keeper until its services are stopped, unless there is one."""
    lock = open_private(home, usage.keeper_lock_file(home), os.O_RDWR)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while not try_lock(lock, fcntl.LOCK_EX):
        # Somebody asking whether there is a keeper holds it for a moment, too.
        if _running_keeper(home) is not None or time.monotonic() > deadline:
            return
        time.sleep(0.01)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {process_birth(os.getpid())}\n".encode(), 0)
    try:
        Keeper(home).run()
    finally:
        # Before the lock on use, which the end of this process releases: whoever waits for that
        # must not take us for a keeper that stays.
        os.close(lock)


def main(arguments: list[str]) -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m storage.keeper")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(_COUNT, action="store_true", help="print them and exit")
    parser.add_argument(_START, action="store_true", help="do so and exit")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    home = Home(asked.home)
    if asked.count_sessions:
        print(EmbeddedPostgres(home).sessions())  # noqa: T201 - its answer
    elif asked.start_postgres:
        EmbeddedPostgres(home).start()
    else:
        keep(home)


if __name__ == "__main__":
    main(sys.argv[1:])
