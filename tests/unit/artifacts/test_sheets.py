"""What the UI shows of a run, made of the ledger's rows."""

from __future__ import annotations

import datetime as dt
import json

from markdown_it import MarkdownIt

from flows.artifacts import sheets
from flows.artifacts.failures import failed_attempt
from flows.artifacts.questions import question

RUN = "01a1ff0e-bb7e-70cc-a4a5-419519ab6df0"
READER = MarkdownIt("commonmark")
EVIL = "```\n# gone\n<img src=x onerror=alert(1)> [x](javascript:alert(1))"


def attempt(number, status="success", **more):
    return {
        "number": number, "status": status, "failure_class": None, "duration_ms": 1_500,
        "commit_sha_after": "c" * 40, "token_usage": {"total_tokens": 10, "cost": 0.25},
    } | more  # fmt: skip


def step(number, *attempts, status="completed", **more):
    return {
        "step_id": number, "subtask": "sub", "step_number": number, "step_type": "test",
        "file_path": f"tests/test_{number}.py", "status": status, "last_error": None,
        "attempts": list(attempts),
    } | more  # fmt: skip


def test_progress_counts_what_is_done_and_names_what_is_under_way():
    steps = [
        step(1, attempt(1)),
        step(2, attempt(2, "in_progress"), status="in_progress"),
        step(3, attempt(3, "failure"), status="failed"),
        step(4, attempt(4, "failure"), status="failed"),
    ]
    sheet = sheets.progress(RUN, steps, asked=[4])
    assert sheet.data == 25.0
    assert sheet.description == (
        "1 of 4 steps done, at sub 2 test tests/test\\_2.py, 1 failed, 1 waits for a person"
    )


def test_the_table_has_every_step_with_what_it_took():
    """What was not measured is no zero, and a commit is one that stands."""
    steps = [
        step(1, attempt(1, "failure", failure_class="no_change"), attempt(2)),
        step(2, attempt(3, token_usage=None)),
        step(3, attempt(4), status="pending"),  # taken back
        step(4, status="pending"),
    ]
    one, two, three, four = json.loads(sheets.table(RUN, steps).data)
    assert one == {
        "#": 1, "subtask": "sub", "step": "1 test", "file": "tests/test_1.py",
        "status": "completed", "attempts": "1, 2", "failed with": "no_change", "tokens": 20,
        "cost (USD)": 0.5, "seconds": "3.0", "commit": "c" * 10,
    }  # fmt: skip
    assert (two["tokens"], two["cost (USD)"]) == ("-", "-")
    assert three["commit"] == "-"
    assert (four["attempts"], four["seconds"], four["status"]) == ("-", "-", "pending")


def test_a_table_of_thousands_has_what_says_most():
    steps = [step(number, attempt(number)) for number in range(1, 3_001)]
    steps[0]["attempts"][0]["failure_class"] = "timeout"
    steps += [step(number, status="pending") for number in range(3_001, 5_001)]
    sheet = sheets.table(RUN, steps)
    shown = [row["#"] for row in json.loads(sheet.data)]
    assert shown == [1, *range(3_001 - sheets.MOST_ROWS + 1, 3_001)]
    assert "4500 steps of 5000 are left out" in sheet.description
    assert len(sheet.data) < 200_000


def test_a_failed_attempt_tells_its_tests_and_its_diff_and_nothing_breaks_out():
    details = {
        "number": 7, "attempt_no": 2, "run_id": RUN, "project": "my project; rm -rf /",
        "subtask": "sub", "step_number": 2, "step_type": "implementation", "file_path": EVIL,
        "failure_class": "not_green", "exit_code": 0, "commit_sha_before": "b" * 40,
        "agent_config": {"name": EVIL}, "instructions": EVIL,
        "result_json": {"reason": EVIL, "violations": [EVIL]},
        "verifications": [{
            "passed": 3, "failed": 1, "errored": 0, "skipped": None, "load_errors": 0,
            "not_passed": [{"node_id": EVIL, "outcome": "failed", "message": EVIL}],
        }],
    }  # fmt: skip
    sheet = failed_attempt(details, EVIL, "tried again: attempt 2 of 3 failed")
    assert sheet.key == "failed-01a1ff0e-bb7e-70cc-sub-2"
    tokens = READER.parse(sheet.data)
    headings = [
        tokens[at + 1].content for at, each in enumerate(tokens) if each.type == "heading_open"
    ]
    assert headings == [
        "Attempt 7 failed: `not_green`", "Changed against the rules",
        "Its tests: 3 passed, 1 failed", "What it had changed", "What it was told to do",
        "More of it",
    ]  # fmt: skip
    fences = [each.content for each in tokens if each.type == "fence"]
    assert fences.count(f"{EVIL}\n") == 5, "reason, violation, message, diff and instructions"
    assert "greenline step diff 7 --project 'my project; rm -rf /'" in fences[-1]
    inline = {child.type for each in tokens for child in each.children or ()}
    assert inline == {"text", "code_inline"}
    spans = [child.content for each in tokens for child in each.children or ()]
    assert "tried again: attempt 2 of 3 failed" in spans


def cta(**more):
    return {
        "id": "309ae58c-63d3-4cf2-ad55-41ee1eb881a5", "run_id": RUN, "kind": "choice",
        "request_message": EVIL, "request_prompt": "How shall the run go on?",
        "request_placeholder": None, "expires_at": dt.datetime(2026, 12, 1, 8, tzinfo=dt.UTC),
        "request_options": [
            {"id": "retry", "label": "Try the step again"},
            {"id": "instructions", "label": EVIL, "needs_text": True},
        ],
        "step_number": 2, "subtask": "sub", "step_type": "test", "file_path": "a.py",
        "feature": "F",
    } | more  # fmt: skip


def links(sheet):
    return [
        child.attrs["href"]
        for each in READER.parse(sheet.data)
        for child in each.children or ()
        if child.type == "link_open"
    ]


def test_a_question_links_to_its_form_and_to_nothing_else():
    """One link for each answer; without the form only the commands are left."""
    sheet = question(cta(), lambda fields: f"/form?{'&'.join(fields.values())}")
    name = cta()["id"]
    assert links(sheet) == [f"/form?{name}&retry", f"/form?{name}&instructions"]
    assert 'greenline answer 309ae58c instructions --text "…"' in sheet.data
    assert "Until 2026-12-01 08:00 UTC." in sheet.data
    alone = question(cta(), None)
    assert links(alone) == []
    assert "greenline answer 309ae58c retry" in alone.data


def test_an_approval_is_answered_with_yes_or_no():
    sheet = question(cta(kind="approval", request_options=None), lambda fields: fields["choice"])
    assert links(sheet) == ["approve", "reject"]
    assert "greenline approve 309ae58c\ngreenline reject 309ae58c" in sheet.data


def test_the_end_of_a_run_says_where_its_work_is():
    steps = [step(1, attempt(1)), step(2, attempt(2, "failure"), status="failed", last_error=EVIL)]
    where = {"branch": "greenline/x", "commit": "c" * 40, "repository": "/a b", "delivery": "merge"}
    done = sheets.ended(RUN, "completed", steps[:1], **where).data
    assert "git -C '/a b' log -p greenline/x" in done
    assert "- delivered: `merge`" in done
    partial = sheets.ended(RUN, "partial", steps, **where).data
    assert "delivered" not in partial
    assert "1 of 2 done, 2 attempts, 1 failed" in partial
    headings = [each for each in READER.parse(partial) if each.type == "heading_open"]
    assert len(headings) == 3
