"""A command's process that finds its libraries loaded does what a new one does."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "words", [["run", "--help"], ["frobnicate"], ["run", "nowhere.yaml"], ["runs", "--json"]], ids=" ".join
)  # fmt: skip
def test_it_says_the_same_and_ends_alike(greenline, words, monkeypatch):
    """Its name in its usage, its streams and its exit code are those of `python -m flows.cli`."""
    warm = greenline(*words)
    monkeypatch.setattr(greenline, "cold", True)
    cold = greenline(*words)
    said = [(done.returncode, done.stdout, done.stderr) for done in (warm, cold)]
    assert said[0] == said[1]
    assert cold.stdout or cold.stderr


def test_an_environment_that_python_reads_gets_a_new_one(greenline):
    """What only a start can do is not left out, such as telling of each import."""
    assert "# cleanup[" not in greenline("runs").stderr
    assert "# cleanup[" in greenline("runs", env={"PYTHONVERBOSE": "1"}).stderr
