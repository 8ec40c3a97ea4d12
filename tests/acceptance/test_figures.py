"""From a run to its figures: the demo, the export, every metric, beside numbers worked out by hand."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from pathlib import Path

import pytest
from git import Repo

from analytics.definitions import STATED, definitions
from tests.acceptance.support import Greenline

pytestmark = pytest.mark.prefect


@pytest.fixture
def home(demo_home):
    """A home in which nothing but one demo was ever run."""
    return demo_home


def measured(home, *words):
    """Metrics by name; without slices each has one value."""
    return {value["metric"]: value for value in home.json("metrics", *words, cwd="/")}


def test_every_metric_is_what_the_run_says(home, demo):
    """Worked out from the run's own document, with nothing of the analytics."""
    steps = demo["steps"]
    attempts = [attempt for step in steps for attempt in step["attempts"]]
    tried = [step["attempts"] for step in steps]
    failed = [attempt for attempt in attempts if attempt["status"] == "failure"]
    at_first = [each for each in tried if len(each) == 1 and each[0]["status"] == "success"]
    with_failure = [each for each in tried if each[0]["status"] == "failure"]
    recovered = [each for each in with_failure if each[-1]["status"] == "success"]
    found = measured(home)
    assert set(found) == set(definitions())

    def figure(name):
        value = found[name]
        return value["value"], value["numerator"], value["denominator"], value["unknown"]

    assert figure("step_completion_rate") == (1.0, len(steps), len(steps), 0)
    assert figure("step_completion_rate_known") == (1.0, len(steps), len(steps), 0)
    assert figure("step_completion_rate_without_infra") == (1.0, len(steps), len(steps), 0)
    assert figure("error_recovery_rate") == (1.0, len(recovered), len(with_failure), 0)
    assert figure("error_recovery_rate_own") == (1.0, len(recovered), len(with_failure), 0)
    assert figure("error_recovery_rate_transient") == (None, 0, 0, 0)
    share = pytest.approx(len(at_first) / len(steps))
    assert figure("first_pass_yield") == (share, len(at_first), len(steps), 0)
    assert figure("failed_attempts")[0] == len(failed) == 1
    assert figure("unknown_failure_share") == (0.0, 0, len(failed), 0)
    assert figure("intervened_unknown_share") == (0.0, 0, len(steps), 0)
    # One of the demo's test steps has tests that are to pass at once.
    reds = [step for step in steps if step["step_type"] == "test"]
    assert figure("valid_red_rate") == (1.0, len(reds) - 1, len(reds) - 1, 0)
    assert figure("green_suite_rate") == (1.0, 1, 1, 0)
    passed, tests, _ = final_suite(home, demo)
    assert figure("test_pass_rate") == (1.0, passed, tests, 0)
    assert found["test_pass_rate"]["target"] == 1.0
    assert found["test_pass_rate"]["meets_target"] is True
    assert figure("flake_rate")[:2] == (0.0, 0)
    # The agent of the demo uses no model: nothing is known, and nothing is unknown either.
    for name in ("input_tokens", "output_tokens", "cost_usd", "cost_coverage", "rework_share"):
        assert figure(name) == (None, 0, 0, 0)
    assert figure("cost_per_accepted_change")[0] is None
    assert figure("accepted_changes") == (0, 0, 1, 1)
    assert found["development_velocity"]["value"] is None
    lasted = sorted(lasting(home, step) for step in steps)
    assert found["duration_p50_s"]["value"] == pytest.approx(statistics.median(lasted), abs=1e-6)
    assert found["duration_p50_s"]["denominator"] == len(steps)
    assert lasted[-2] <= found["duration_p95_s"]["value"] <= lasted[-1]


def final_suite(home, document):
    """How many tests passed, and how many there were, when it was delivered."""
    ((passed, red, kind),) = home.sql(
        "SELECT passed, failed + errored + load_errors, kind FROM verifications "
        f"WHERE run_id = '{document['run_id']}' AND kind NOT IN ('rerun', 'canary') "
        "ORDER BY id DESC LIMIT 1"
    )
    return passed, passed + red, kind


def lasting(home, step):
    """Seconds from the beginning of a step's first attempt to the end of its last one."""
    ((begun, ended),) = home.sql(
        "SELECT min(started_at), max(completed_at) FROM step_attempts "
        f"WHERE step_id = {int(step['step_id'])}"
    )
    return (ended - begun).total_seconds()


def test_the_demo_ends_with_the_metrics_and_the_report(home, demo):
    names = {value["metric"] for value in demo["metrics"]}
    assert set(STATED) <= names
    page = Path(demo["report"]).read_text(encoding="utf-8")
    year, week, _ = dt.datetime.now(dt.UTC).isocalendar()
    assert f"{year}-W{week:02d}" in page
    assert page.startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org/", "") and "https://" not in page
    assert Path(demo["report"]).with_suffix(".md").is_file()


def test_slices_add_up_and_exports_alone_say_the_same(home, demo, tmp_path):
    """By stage, by agent, and without the ledger: the same steps."""
    for by in ("stage", "agent", "project", "phase", "week"):
        values = home.json(
            "metrics", "--by", by, "-m", "step_completion_rate", "-m", "failed_attempts", cwd="/"
        )
        steps = [v["denominator"] for v in values if v["metric"] == "step_completion_rate"]
        assert sum(steps) == len(demo["steps"])
    stages = {
        value["group"]["stage"]
        for value in home.json("metrics", "--by", "stage", "-m", "step_completion_rate", cwd="/")
    }
    assert {"unit_testing", "unit_implementation"} <= stages
    elsewhere = Greenline(tmp_path / "no ledger here")
    alone = elsewhere.json("metrics", "--logs", home.home / "exports", cwd="/")
    assert alone == home.json("metrics", cwd="/")
    assert not (elsewhere.home / "postgres").exists()


def test_what_a_person_merges_is_accepted_and_what_is_reverted_is_not(home, demo):
    """Delivered as a branch and merged by hand: the target branch's history says so."""
    ((path,),) = home.sql("SELECT repo_path FROM projects")
    repo = Repo(path)
    repo.git.merge("--ff-only", demo["branch"])
    assert measured(home, "-m", "accepted_changes")["accepted_changes"]["value"] == 1
    base = home.sql("SELECT metadata_json->>'base_commit' FROM runs")[0][0]
    repo.git.execute(
        ["git", "-c", "user.name=P", "-c", "user.email=p@example.org", "revert", "--no-edit",
         f"{base}..{demo['branch']}"]
    )  # fmt: skip
    assert measured(home, "-m", "accepted_changes")["accepted_changes"]["value"] == 0


def test_a_rolled_back_step_counts_and_is_not_achieved(home, demo):
    """The last attempt is taken back: its step stays in the denominator."""
    last = demo["steps"][-1]["attempts"][-1]["number"]
    done = home("step", "rollback", last, "--yes", "--project", "tally", cwd="/")
    assert done.returncode == 0, done.stderr
    value = measured(home, "-m", "step_completion_rate")["step_completion_rate"]
    steps = len(demo["steps"])
    assert (value["numerator"], value["denominator"]) == (steps - 1, steps)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "2026-W54"), "2026-W54"),
        (("--since", "yesterday"), "2026-11-21"),
        (("--since", "2026-W30", "--until", "2026-W20"), "before"),
        (("--by", "colour"), "week, project"),
        (("-m", "happiness"), "step_completion_rate"),
        (("--project", "nobody"), "nobody"),
        (("--baseline", "often"), "2026-W30..2026-W35"),
        (("--logs", "/nowhere/at/all"), "/nowhere/at/all"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_message(home, demo, words, told):
    done = home("metrics", *words, "--json", cwd="/")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_exporting_again_touches_no_file(home, demo):
    """Nothing changed: nothing is written."""
    home.json("export", cwd="/")
    files = {path: path.stat().st_mtime_ns for path in (home.home / "exports").rglob("*.parquet")}
    assert files
    again = home.json("export", cwd="/")
    assert json.dumps(again)
    assert files == {
        path: path.stat().st_mtime_ns for path in (home.home / "exports").rglob("*.parquet")
    }


def test_the_audits_find_nothing_and_tell_what_they_find(home, demo):
    """Nothing in a run of ours, also one that was rolled back; a row that cannot be is named."""
    assert home.json("export", "--audit", cwd="/")["audits"] == []
    home.sql_do(
        "UPDATE step_attempts SET completed_at = started_at - interval '1 hour' WHERE id = 1"
    )
    told = home.json("export", "--audit", ok=(1,), cwd="/")["audits"]
    assert [finding["audit"] for finding in told] == ["ended_before_it_began"]
    home.sql_do("UPDATE step_attempts SET completed_at = started_at + interval '1 s' WHERE id = 1")
    assert home.json("export", "--audit", cwd="/")["audits"] == []
