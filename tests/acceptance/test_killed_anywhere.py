"""Nothing is lost: a run that is killed at any moment, again and again, ends as if it had not been.

`make soak` plays hundreds of rounds (GREENLINE_SOAK_ROUNDS); CI one of each kind.
"""

from __future__ import annotations

import os

import pytest

from tests.acceptance.killing import Victim, assert_whole, tree_of

ROUNDS = int(os.environ.get("GREENLINE_SOAK_ROUNDS", "1"))
FIRST_SEED = int(os.environ.get("GREENLINE_SOAK_SEED", "1"))


@pytest.fixture(scope="module")
def expected_tree(greenline, tmp_path_factory):
    """The tree of a run that nobody disturbed."""
    victim = Victim(greenline, tmp_path_factory.mktemp("undisturbed"))
    document = greenline.json(*victim.start_words)
    assert_whole(greenline, victim.project, document)
    return tree_of(victim.project, document)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + ROUNDS))
def test_killed_at_random_moments_a_run_ends_in_the_same_tree(
    greenline, tmp_path, expected_tree, seed, lanes
):
    """Kill -9 of the whole process group, resume, until done: nothing lost, nothing done twice."""
    victim = Victim(greenline, tmp_path, words=("--max-parallel", lanes), seed=seed)
    document = victim.until_done(12.0)
    assert_whole(greenline, victim.project, document)
    assert tree_of(victim.project, document) == expected_tree
