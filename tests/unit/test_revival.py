"""The keeper starts anew what `greenline up` keeps, and gives up on nothing, but takes its time."""

from __future__ import annotations

import os
import shutil
import signal
from itertools import pairwise

import pytest

from storage import detached, usage
from storage.home import Home
from storage.revival import LONGEST_PAUSE_S, Reviver, program_of
from storage.supervision import ended


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "ho me")
    made.folder(made.services)
    made.folder(made.logs)
    yield made
    for found in detached.all_running(made):
        detached.stop(made, found.name)


def start(home, seconds="60"):
    """A service that runs for some seconds; its process."""
    command = [shutil.which("sleep"), seconds]
    log = home.logs / "nap-log.log"
    return detached.start(home, "nap", command, env={"A": "b c=d"}, log=log, port=7)


def kill(found):
    os.kill(found.pid, signal.SIGKILL)
    assert ended(found.pid, found.birth, within_s=5)


def test_what_is_kept_is_started_again_as_it_was(home):
    """The same program, environment and port; its environment is not stored anywhere."""
    reviver = Reviver(home, lambda: None)
    usage.pin(home, ["nap"])
    first = start(home)
    before = program_of(first.pid)
    assert reviver.look([first], postgres=False) == []
    kill(first)
    assert reviver.look([], postgres=False) == ["nap"]
    second = detached.running(home, "nap")
    assert second is not None and second.pid != first.pid and second.port == 7
    assert program_of(second.pid) == before
    assert before.environment["A"] == "b c=d"
    assert "HOME" not in before.environment
    assert not [f for f in home.path.rglob("*") if f.is_file() and b"b c=d" in f.read_bytes()]


@pytest.mark.parametrize("names", [[], ["other"]])
def test_what_is_not_kept_stays_ended(home, names):
    reviver = Reviver(home, lambda: None)
    usage.pin(home, names)
    first = start(home)
    reviver.look([first], postgres=False)
    kill(first)
    assert reviver.look([], postgres=False) == []
    assert detached.running(home, "nap") is None
    assert not reviver.missing


def test_down_is_the_last_word(home):
    """Who unpins, then stops: nothing is started after that."""
    reviver = Reviver(home, lambda: None)
    usage.pin(home, ["nap"])
    reviver.look([start(home)], postgres=False)
    usage.unpin(home)
    assert detached.stop(home, "nap")
    assert reviver.look([], postgres=False) == []


def test_what_ends_again_and_again_is_tried_ever_less_often(home):
    clock = Clock()
    tries = []
    reviver = Reviver(home, lambda: tries.append(clock.now), clock)
    usage.pin(home, [usage.POSTGRES])
    reviver.look([], postgres=True)
    for second in range(600):
        clock.now = float(second)
        reviver.look([], postgres=False)  # it never comes up
    pauses = [after - before for before, after in pairwise(tries)]
    assert tries[0] == 0.0
    assert pauses == sorted(pauses)
    assert LONGEST_PAUSE_S <= pauses[-1] <= LONGEST_PAUSE_S + 2


def test_what_ran_steadily_is_started_again_at_once(home):
    clock = Clock()
    tries = []
    reviver = Reviver(home, lambda: tries.append(clock.now), clock)
    usage.pin(home, [usage.POSTGRES])
    for second in (*range(10), *range(100, 200)):
        clock.now = float(second)
        reviver.look([], postgres=second not in {5, 199})
    assert tries == [5.0, 199.0]


def test_one_that_fails_to_start_is_tried_again(home):
    """What goes wrong is the keeper's to log; the next look tries again."""
    clock = Clock()
    wrong = [OSError("no room"), OSError("no room")]

    def begin():
        if wrong:
            raise wrong.pop()

    reviver = Reviver(home, begin, clock)
    usage.pin(home, [usage.POSTGRES])
    reviver.look([], postgres=True)
    for second in (10.0, 20.0):
        clock.now = second
        with pytest.raises(OSError, match="no room"):
            reviver.look([], postgres=False)
        assert reviver.missing
    clock.now = 30.0
    assert reviver.look([], postgres=False) == ["postgres"]
