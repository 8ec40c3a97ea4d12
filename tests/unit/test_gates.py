"""The test gates: a cheat is caught with its class, an honest step is never refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.gates import (
    Baseline,
    SuiteRun,
    hidden_tests,
    judge_implementation_step,
    judge_suite,
    judge_test_step,
)
from tasks.gates.junit import TestResult

OWN = "tests/test_roman.py"
OTHER = "tests/test_other.py"
TARGETS = ("src/roman.py",)


def result(node_id, outcome="passed", *, file=OWN, message="", text="", moment="run"):
    return TestResult(
        node_id=node_id,
        outcome=outcome,
        message=message,
        text=text,
        file_path=file,
        moment="load" if outcome == "load_error" else moment,
    )


def suite(*results, exit_code=0, problem=None, files=None):
    return SuiteRun({r.node_id: r for r in results}, exit_code, problem, files)


def baseline(*results):
    return Baseline.observed(suite(*results))


MISSING = "E   ModuleNotFoundError: No module named 'roman'"
OTHER_PASSES = result("o::a", file=OTHER)


def test_step(before, run, **options):
    return judge_test_step(before, run, file_path=OWN, targets=TARGETS, **options)


test_step.__test__ = False


def implementation_step(before, run, **options):
    return judge_implementation_step(before, run, test_files=(OWN,), **options)


class TestRed:
    @pytest.mark.parametrize(
        "red",
        [
            result("t::new", "failed", message="AssertionError: assert 1 == 2"),
            result(
                "t::new", "failed", message="AttributeError: module 'roman' has no attribute 'x'"
            ),
            result("t::new", "failed", message="NotImplementedError"),
            result("t::new", "errored", message="ZeroDivisionError"),
            result("tests.test_roman", "load_error", text=MISSING),
            result(
                "tests.test_roman",
                "load_error",
                text="ImportError: cannot import name 'to_roman' from 'src.roman' (/x/src/roman.py)",
            ),
            result(
                "t::new",
                "errored",
                moment="setup",
                message="failed on setup with \"AttributeError: module 'roman' has no attribute 'R'\"",
            ),
        ],
        ids=["assertion", "attribute", "exception", "error", "no module", "no name", "fixture"],
    )
    def test_a_new_test_that_fails_for_the_right_reason_is_a_valid_red(self, red):
        verdict = test_step(baseline(OTHER_PASSES), suite(OTHER_PASSES, red, exit_code=1))
        assert verdict.passed, verdict.reason

    def test_tests_that_pass_at_once_beside_a_red_one_are_allowed_and_counted(self):
        verdict = test_step(
            baseline(), suite(result("t::red", "failed"), result("t::green"), exit_code=1)
        )
        assert verdict.passed
        assert verdict.counts == {"red": 1, "passing_at_once": 1}

    def test_a_changed_test_that_now_fails_is_red(self):
        assert test_step(baseline(result("t::a")), suite(result("t::a", "failed"))).passed

    def test_a_test_that_failed_before_with_the_same_message_is_not_red(self):
        old = result("t::a", "failed", message="assert 1 == 2 in 0.12s")
        again = result("t::a", "failed", message="assert 1 == 2 in 0.15s")
        verdict = test_step(baseline(old), suite(again, exit_code=1))
        assert verdict.failure_class == "not_red"

    def test_a_test_that_failed_before_and_fails_otherwise_now_is_red(self):
        old = result("t::a", "failed", message="assert 1 == 2")
        now = result("t::a", "failed", message="assert 1 == 3")
        assert test_step(baseline(old), suite(now, exit_code=1)).passed

    @pytest.mark.parametrize("new", [(), (result("t::new"),), (result("t::new", "skipped"),)])
    def test_nothing_red_is_not_red(self, new):
        verdict = test_step(baseline(OTHER_PASSES), suite(OTHER_PASSES, *new))
        assert verdict.failure_class == "not_red"

    @pytest.mark.parametrize(
        "broken",
        [
            result("tests.test_roman", "load_error", text="No module named 'rmoan'"),
            result("tests.test_roman", "load_error", text="No module named 'requests'"),
            result(
                "tests.test_roman",
                "load_error",
                text='  File "/s/tests/test_roman.py", line 1\nE  SyntaxError: invalid syntax',
            ),
            result("tests.test_roman", "load_error", text="NameError: name 'pytst' is not defined"),
            result(
                "t::new",
                "errored",
                moment="setup",
                message="failed on setup with \"fixture 'q' not",
            ),
        ],
        ids=["typo", "dependency", "syntax", "name", "fixture"],
    )
    def test_a_broken_test_is_red_for_the_wrong_reason_even_beside_a_right_one(self, broken):
        verdict = test_step(
            baseline(OTHER_PASSES),
            suite(OTHER_PASSES, result("t::right", "failed"), broken, exit_code=1),
        )
        assert verdict.failure_class == "red_error"

    def test_tests_of_other_files_keep_their_outcome(self):
        verdict = test_step(
            baseline(OTHER_PASSES),
            suite(result("o::a", "failed", file=OTHER), result("t::red", "failed"), exit_code=1),
        )
        assert verdict.failure_class == "regression"

    def test_a_repository_with_failing_tests_from_before_is_no_obstacle(self):
        old = result("o::broken", "failed", file=OTHER, message="assert 0")
        verdict = test_step(baseline(old), suite(old, result("t::red", "failed"), exit_code=1))
        assert verdict.passed

    def test_a_file_that_never_loaded_is_no_obstacle(self):
        old = result("tests.test_other", "load_error", file=OTHER, text="No module named 'lxml'")
        verdict = test_step(baseline(old), suite(old, result("t::red", "failed"), exit_code=2))
        assert verdict.passed

    def test_a_removed_test_is_tampering(self):
        verdict = test_step(
            baseline(result("t::a"), result("t::b")),
            suite(result("t::a"), result("t::red", "failed"), exit_code=1),
        )
        assert verdict.failure_class == "test_tampering"

    def test_a_removed_test_is_allowed_where_the_plan_says_so(self):
        run = suite(result("t::red", "failed"), exit_code=1)
        assert test_step(baseline(result("t::b")), run, may_remove_tests=True).passed

    def test_a_test_that_is_skipped_now_is_tampering(self):
        verdict = test_step(
            baseline(result("t::a")),
            suite(result("t::a", "skipped"), result("t::red", "failed"), exit_code=1),
        )
        assert verdict.failure_class == "test_tampering"

    def test_weakened_source_is_tampering(self):
        run = suite(result("t::red", "failed"), exit_code=1)
        verdict = test_step(baseline(), run, weakened=["test_a lost all its checks (it had 2)"])
        assert verdict.failure_class == "test_tampering"

    def test_a_load_error_hides_tests_but_does_not_remove_them(self):
        run = suite(result("tests.test_roman", "load_error", text=MISSING), exit_code=2)
        before = baseline(result("t::old"), OTHER_PASSES)
        assert test_step(before, run).passed
        assert set(before.after(run).last) == {"t::old", "o::a", "tests.test_roman"}

    def test_changed_parameters_are_no_missing_test_but_fewer_cases_are(self):
        before = baseline(result("t::p[1]"), result("t::p[2]"))
        red = result("t::red", "failed")
        assert test_step(before, suite(result("t::p[3]"), result("t::p[4]"), red)).passed
        fewer = test_step(before, suite(result("t::p[3]"), red))
        assert fewer.failure_class == "test_tampering"

    @pytest.mark.parametrize("expect", ["red", "green", "unchanged"])
    def test_a_run_without_a_usable_report_never_passes(self, expect):
        assert not test_step(baseline(), suite(problem="no report"), expect=expect).passed

    def test_a_runner_that_names_no_files_is_judged_by_what_is_new(self):
        old = result("pkg::TestOld", file=None)
        new = result("pkg::TestNew", "failed", file=None)
        assert test_step(baseline(old), suite(old, new, exit_code=1)).passed


class TestGreenAndUnchangedTestSteps:
    def test_a_characterisation_test_may_pass_at_once(self):
        assert test_step(baseline(), suite(result("t::a")), expect="green").passed

    def test_a_failing_characterisation_test_is_not_green(self):
        verdict = test_step(baseline(), suite(result("t::a", "failed")), expect="green")
        assert verdict.failure_class == "not_green"

    def test_a_file_without_any_test_is_not_green(self):
        assert not test_step(baseline(), suite(OTHER_PASSES), expect="green").passed

    def test_a_support_file_changes_no_outcome(self):
        before = baseline(OTHER_PASSES, result("o::b", "failed", file=OTHER))
        same = suite(OTHER_PASSES, result("o::b", "failed", file=OTHER), exit_code=1)
        assert test_step(before, same, expect="unchanged").passed
        changed = suite(OTHER_PASSES, result("o::b", file=OTHER))
        assert test_step(before, changed, expect="unchanged").failure_class == "regression"


class TestGreen:
    RED = baseline(OTHER_PASSES).after(suite(OTHER_PASSES, result("t::new", "failed")))
    HIDDEN = baseline(OTHER_PASSES).after(
        suite(OTHER_PASSES, result("tests.test_roman", "load_error", text=MISSING))
    )

    @pytest.mark.parametrize("before", [RED, HIDDEN], ids=["failing", "not loading"])
    def test_all_tests_of_the_subtask_passing_is_green(self, before):
        assert implementation_step(before, suite(OTHER_PASSES, result("t::new"))).passed

    @pytest.mark.parametrize(
        ("run", "failure_class"),
        [
            (suite(OTHER_PASSES, result("t::new", "failed")), "not_green"),
            (suite(OTHER_PASSES, result("t::new", "skipped")), "not_green"),
            (suite(OTHER_PASSES, problem="no report"), "not_green"),
            (suite(result("o::a", "failed", file=OTHER), result("t::new")), "regression"),
            (suite(result("o::a", "skipped", file=OTHER), result("t::new")), "test_tampering"),
            (suite(result("t::new")), "test_tampering"),
            (suite(OTHER_PASSES), "test_tampering"),
            (
                suite(result("tests.test_other", "load_error", file=OTHER), result("t::new")),
                "regression",
            ),
        ],
        ids=[
            "still red", "skips it", "left early", "breaks another", "skips another",
            "another is gone", "the red one is gone", "another does not load",
        ],
    )  # fmt: skip
    def test_what_is_not_green_is_refused_with_its_class(self, run, failure_class):
        assert implementation_step(self.RED, run).failure_class == failure_class

    def test_a_file_that_still_does_not_load_is_not_green(self):
        again = result("tests.test_roman", "load_error", text=MISSING)
        verdict = implementation_step(self.HIDDEN, suite(OTHER_PASSES, again, exit_code=2))
        assert verdict.failure_class == "not_green"

    def test_no_test_having_run_is_not_green(self):
        verdict = implementation_step(self.HIDDEN, suite(OTHER_PASSES))
        assert verdict.failure_class == "not_green"

    def test_what_failed_at_the_start_of_the_run_may_go_on_failing(self):
        old = result("t::old", "failed")
        before = baseline(old).after(suite(old, result("t::new", "failed")))
        assert implementation_step(before, suite(old, result("t::new"), exit_code=1)).passed

    def test_an_earlier_implementation_step_makes_nothing_worse(self):
        red = suite(OTHER_PASSES, result("t::new", "failed"), exit_code=1)
        assert implementation_step(self.RED, red, expect="unchanged").passed

    def test_a_subtask_without_a_test_step_makes_nothing_worse(self):
        run = suite(OTHER_PASSES)
        assert judge_implementation_step(baseline(OTHER_PASSES), run, test_files=()).passed

    def test_tests_removed_behind_a_load_error_come_to_light_at_the_next_run(self):
        before = baseline(result("t::old"))
        hidden = before.after(suite(result("tests.test_roman", "load_error", text=MISSING)))
        verdict = implementation_step(hidden, suite(result("t::new")))
        assert verdict.failure_class == "test_tampering"
        assert verdict.tests == ("t::old",)


class TestWholeSuite:
    def test_nothing_worse_than_at_the_start_passes(self):
        old = result("o::bad", "failed", file=OTHER)
        assert judge_suite(baseline(old, OTHER_PASSES), suite(old, OTHER_PASSES)).passed

    def test_a_new_failure_does_not(self):
        run = suite(OTHER_PASSES, result("t::x", "failed"))
        assert judge_suite(baseline(OTHER_PASSES), run).failure_class == "not_green"


OUTCOMES = st.sampled_from(["passed", "failed", "errored", "skipped"])
RESULTS = st.dictionaries(
    st.sampled_from([f"t::{n}" for n in "abcdef"] + ["t::p[1]", "t::p[2]"]), OUTCOMES, max_size=8
).map(lambda found: [result(key, value) for key, value in found.items()])


@given(RESULTS, RESULTS)
def test_no_green_verdict_ever_lets_a_passing_test_get_worse(before, after):
    verdict = judge_implementation_step(
        baseline(*before), suite(*after, exit_code=1), test_files=(OWN,)
    )
    if verdict.passed:
        ids = {r.node_id: r.outcome for r in after}
        for known in before:
            if known.outcome == "passed" and "[" not in known.node_id:
                assert ids[known.node_id] == "passed"
        assert any(r.outcome == "passed" for r in after)


@given(RESULTS, RESULTS)
def test_a_refusal_always_names_a_class_and_a_reason(before, after):
    for verdict in (
        test_step(baseline(*before), suite(*after)),
        implementation_step(baseline(*before), suite(*after)),
        judge_suite(baseline(*before), suite(*after)),
    ):
        assert verdict.passed == (verdict.failure_class is None)
        assert verdict.reason


@given(RESULTS)
def test_judging_the_same_run_again_finds_nothing_worse(results):
    assert judge_suite(baseline(*results), suite(*results)).passed


def test_a_run_of_some_files_hides_the_tests_of_others_but_not_its_own():
    known = [result("t::a"), result("t::b"), OTHER_PASSES]
    assert hidden_tests(known, suite(result("t::a"), files=frozenset({OWN}))) == {"o::a"}
