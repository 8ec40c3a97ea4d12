"""An honest agent is never refused, whatever the repository and the kind of step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from git import Repo

from tests.acceptance.support import AUTHOR, settings, write_files

#: A repository without .gitignore, with failing, unloadable and skipped tests from before.
FILES = {
    "src/shop/__init__.py": "",
    "src/shop/cart.py": "def total(items):\n    return sum(items)\n\n\ndef count(items):\n    return len(items)\n",
    "src/shop/legacy.py": "def old():\n    return 'old'\n",
    "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['src']\n",
    "tests/test_cart.py": """
        import pytest
        from shop.cart import total

        @pytest.mark.parametrize("items", [[1], [2, 3]])
        def test_total(items):
            assert total(items) == sum(items)

        def test_failing_from_before():
            assert total([1]) == 2

        @pytest.mark.skip(reason="not on this machine")
        def test_skipped_from_before():
            assert False
        """,
    "tests/test_needs_a_missing_library.py": "import no_such_library_at_all\n\ndef test_x():\n    pass\n",
}  # fmt: skip

CART = 'pathlib.Path("src/shop/cart.py").read_text()'

#: What the agent writes, by subtask and step: source text of an expression.
EDITS = {
    # A test that fails by an import error: the module is not there yet.
    ("new-module", "test"): '"from shop.coupon import apply\\n\\ndef test_apply():\\n    assert apply(100, 10) == 90\\n"',
    ("new-module", "implementation"): '"def apply(price, percent):\\n    return price - price * percent // 100\\n"',
    # By a name that the module does not have yet.
    ("new-name", "test"): '"from shop.cart import mean\\n\\ndef test_mean():\\n    assert mean([1, 3]) == 2\\n"',
    ("new-name", "implementation"): CART + ' + "\\n\\ndef mean(items):\\n    return sum(items) / len(items)\\n"',
    # By an AttributeError inside the test.
    ("attribute", "test"): '"import shop.cart as cart\\n\\ndef test_largest():\\n    assert cart.largest([1, 3]) == 3\\n"',
    ("attribute", "implementation"): CART + ' + "\\n\\ndef largest(items):\\n    return max(items)\\n"',
    # By an assertion, beside tests that pass at once.
    ("assertion", "test"): '"from shop.cart import count\\n\\ndef test_passes_at_once():\\n    assert count([1]) == 1\\n\\ndef test_none():\\n    assert count([1, None]) == 1\\n"',
    ("assertion", "implementation"): CART + '.replace("return len(items)", "return len([i for i in items if i is not None])")',
    # In a fixture that builds what is not there yet.
    ("fixture", "test"): '"import pytest\\nimport shop.legacy\\n\\n@pytest.fixture\\ndef till():\\n    return shop.legacy.Till()\\n\\ndef test_till(till):\\n    assert till.open\\n"',
    ("fixture", "implementation"): 'pathlib.Path("src/shop/legacy.py").read_text() + "\\n\\nclass Till:\\n    open = True\\n"',
    # Tests that are there are changed, and parameters with them.
    ("changed-test", "test"): 'pathlib.Path("tests/test_cart.py").read_text().replace("[[1], [2, 3]]", "[[4], [5, 6]]").replace("== sum(items)", "== sum(items) + 1")',
    ("changed-test", "implementation"): CART + '.replace("return sum(items)\\n", "return sum(items) + 1\\n")',
    # Characterisation: passes at once. Support file: changes no outcome. Untested: nothing worse.
    ("characterisation", "test"): '"from shop.legacy import old\\n\\ndef test_old():\\n    assert old() == \'old\'\\n"',
    ("support", "test"): '"import pytest\\n\\n@pytest.fixture\\ndef empty():\\n    return []\\n"',
    ("untested", "implementation"): '"VERSION = 2\\n"',
    # unittest with subtests, in a folder of its own.
    ("unittest", "test"): '"import unittest\\nfrom shop import rates\\n\\nclass TestRates(unittest.TestCase):\\n    def test_all(self):\\n        for n in (1, 2):\\n            with self.subTest(n=n):\\n                self.assertEqual(rates.double(n), 2 * n)\\n"',
    ("unittest", "implementation"): '"def double(n):\\n    return 2 * n\\n"',
}  # fmt: skip

PLACES = {
    "new-module": ("tests/test_coupon.py", "src/shop/coupon.py"),
    "new-name": ("tests/test_mean.py", "src/shop/cart.py"),
    "attribute": ("tests/test_largest.py", "src/shop/cart.py"),
    "assertion": ("tests/test_count.py", "src/shop/cart.py"),
    "fixture": ("tests/test_till.py", "src/shop/legacy.py"),
    "changed-test": ("tests/test_cart.py", "src/shop/cart.py"),
    "characterisation": ("tests/test_legacy.py", None),
    "support": ("tests/conftest.py", None),
    "untested": (None, "src/shop/version.py"),
    "unittest": ("tests/unit/rates_test.py", "src/shop/rates.py"),
}
EXPECT = {"characterisation": "green", "support": "unchanged"}


def plan():
    subtasks = []
    for key, places in PLACES.items():
        steps = []
        for kind, path in zip(("test", "implementation"), places, strict=True):
            if path:
                step = {"step_type": kind, "file_path": path, "instructions": key}
                expect = EXPECT.get(key)
                steps.append(step | ({"expect": expect} if expect else {}))
        subtasks.append({"key": key, "title": key, "steps": steps})
    return {"feature": "Honest work", "tasks": [{"title": "All", "subtasks": subtasks}]}


@pytest.fixture(scope="module")
def worked(greenline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest work")
    root = folder / "shop"
    repo = Repo.init(root, initial_branch="main")
    write_files(root, FILES)
    repo.git.add("-A")
    repo.index.commit("The beginning", author=AUTHOR, committer=AUTHOR)
    agent = folder / "agent.py"
    agent.write_text(
        "import os, pathlib\n"
        f"EDITS = { ({f'{key}/{kind}': text for (key, kind), text in EDITS.items()})!r}\n"
        "where = os.environ['GREENLINE_SUBTASK'] + '/' + os.environ['GREENLINE_STEP_TYPE']\n"
        "file = pathlib.Path(os.environ['GREENLINE_FILE'])\n"
        "file.parent.mkdir(parents=True, exist_ok=True)\n"
        "file.write_text(eval(EDITS[where]))\n"
    )
    config = folder / "greenline.toml"
    config.write_text(settings(agent, attempts=1))
    (folder / "plan.json").write_text(json.dumps(plan()))
    (root / "uncommitted.txt").write_text("the user's own work in progress")
    document = greenline.json(
        "run", folder / "plan.json", "--repo", root, "--config", config, ok=(0, 1)
    )
    return document, repo


STEPS = [
    (key, kind)
    for key, places in PLACES.items()
    for kind, path in zip(("test", "implementation"), places, strict=True)
    if path
]


@pytest.mark.prefect
@pytest.mark.parametrize(("subtask", "kind"), STEPS, ids=["-".join(step) for step in STEPS])
def test_an_honest_step_succeeds_at_once(worked, subtask, kind):
    (step,) = [
        step
        for step in worked[0]["steps"]
        if (step["subtask"], step["step_type"]) == (subtask, kind)
    ]
    assert [a["status"] for a in step["attempts"]] == ["success"]


@pytest.mark.prefect
def test_the_branch_has_one_commit_for_each_successful_attempt_and_the_checkout_is_untouched(
    worked,
):
    document, repo = worked
    assert document["status"] == "completed"
    commits = [c.hexsha for c in repo.iter_commits(f"main..{document['branch']}", reverse=True)]
    kept = sorted(
        (attempt["number"], attempt["commit_sha_after"])
        for step in document["steps"]
        for attempt in step["attempts"]
        if attempt["status"] == "success"
    )
    assert commits == [commit for _, commit in kept]
    assert repo.active_branch.name == "main"
    assert repo.untracked_files == ["uncommitted.txt"]
    for commit in repo.iter_commits(f"main..{document['branch']}"):
        for trailer in ("Greenline-Run:", "Greenline-Step:", "Greenline-Attempt:"):
            assert trailer in commit.message


@pytest.mark.prefect
def test_running_the_same_plan_again_does_nothing_again(worked, greenline):
    """What was done on the same commit is taken over: no agent runs, the result is the same."""
    document, repo = worked
    folder = greenline.home.parent
    root = repo.working_tree_dir

    config = Path(root).parent / "greenline.toml"
    again = greenline.json(
        "run", Path(root).parent / "plan.json", "--repo", root, "--config", config
    )
    assert folder.exists()
    assert again["commit"] == document["commit"]
    assert {a["status"] for s in again["steps"] for a in s["attempts"]} == {"skipped"}
