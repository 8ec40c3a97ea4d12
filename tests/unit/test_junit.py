"""JUnit XML from different runners reads the same; hostile or broken reports are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.gates.junit import FileIndex, ReportError, base_id, parse_report

FILES = FileIndex.of(
    ["tests/test_a.py", "tests/sub/test_a.py", "test_root.py", "src/roman.py", "web/roman.test.js"]
)


def report(body: str) -> bytes:
    return f'<?xml version="1.0"?><testsuites><testsuite name="s">{body}</testsuite></testsuites>'.encode()


def only(body: str):
    (found,) = parse_report(report(body), FILES).values()
    return found


@pytest.mark.parametrize(
    ("body", "outcome", "moment"),
    [
        ('<testcase classname="tests.test_a" name="t"/>', "passed", "run"),
        ('<testcase classname="tests.test_a" name="t"><failure message="m"/></testcase>', "failed", "run"),
        ('<testcase classname="tests.test_a" name="t"><skipped/></testcase>', "skipped", "run"),
        (
            '<testcase classname="tests.test_a" name="t"><error message="failed on setup with &quot;x&quot;"/></testcase>',
            "errored",
            "setup",
        ),
        (
            '<testcase classname="" name="tests.test_a"><error message="collection failure">E</error></testcase>',
            "load_error",
            "load",
        ),
        (
            '<testcase classname="unittest.loader._FailedTest" name="tests.test_a"><error message="x"/></testcase>',
            "load_error",
            "load",
        ),
        (
            '<testcase classname="pkg" name="TestMain"><failure>FAIL pkg [build failed]</failure></testcase>',
            "load_error",
            "load",
        ),
    ],
)  # fmt: skip
def test_what_happened_is_read_by_the_habits_of_each_writer(body, outcome, moment):
    found = only(body)
    assert (found.outcome, found.moment) == (outcome, moment)


@pytest.mark.parametrize(
    ("classname", "name", "attribute", "path"),
    [
        ("tests.test_a", "t", None, "tests/test_a.py"),
        ("tests.test_a.TestX", "t", None, "tests/test_a.py"),
        ("tests.sub.test_a.TestX", "t", None, "tests/sub/test_a.py"),
        ("checkout.tests.sub.test_a", "t", None, "tests/sub/test_a.py"),
        ("test_root", "t", None, "test_root.py"),
        ("web/roman.test.js", "works", None, "web/roman.test.js"),
        ("Roman", "works", "web/roman.test.js", "web/roman.test.js"),
        ("", "tests.test_a", None, "tests/test_a.py"),
        ("example.com/pkg", "TestX", None, None),
    ],
)
def test_a_test_is_found_in_its_file(classname, name, attribute, path):
    assert FILES.locate(classname, name, attribute) == path


def test_a_test_named_twice_counts_with_the_worst_it_did():
    body = (
        '<testcase classname="c" name="t"><failure message="call"/></testcase>'
        '<testcase classname="c" name="t"><error message="failed on teardown"/></testcase>'
        '<testcase classname="c" name="t"/>'
    )
    assert only(body).outcome == "errored"


@pytest.mark.parametrize(
    ("case", "node_id"),
    [
        (
            'classname="home..greenline.run.main.tests.sub.test_a.TestX" name="t"',
            "tests.sub.test_a.TestX::t",
        ),
        ('classname="tests.sub.test_a" name="t"', "tests.sub.test_a::t"),
        ('classname="example.com/pkg" name="TestX"', "example.com/pkg::TestX"),
        ('classname="" name="x.main.tests.test_a"', "tests.test_a"),
    ],
)
def test_an_id_is_the_same_in_every_worktree(case, node_id):
    """The runner's root folder may lie above the worktree; the way to it is no part of an id."""
    assert only(f"<testcase {case}/>").node_id == node_id


def test_nested_suites_are_read():
    data = b'<testsuite><testsuite file="web/roman.test.js"><testcase name="a"/></testsuite></testsuite>'
    (found,) = parse_report(data, FILES).values()
    assert found.file_path == "web/roman.test.js"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"not xml",
        b"<testsuites><testsuite>",
        b"<html/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuites/>',
        b"\x00\x01",
        b'<?xml version="1.0" encoding="nonsense"?><testsuites/>',
    ],
)
def test_a_broken_or_hostile_report_is_refused_with_a_reason(data):
    with pytest.raises(ReportError, match="report"):
        parse_report(data)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data):
    with contextlib.suppress(ReportError):
        parse_report(data)


@pytest.mark.parametrize(
    ("node_id", "base"),
    [("c::t[1-2]", "c::t"), ("c::t", "c::t"), ("c::t[a[b]]", "c::t"), ("c::t[x\ny]", "c::t")],
)
def test_parameters_are_no_part_of_the_base_id(node_id, base):
    assert base_id(node_id) == base


def test_a_time_that_is_no_number_is_zero():
    assert only('<testcase name="t" time="soon"/>').duration_ms == 0
    assert only('<testcase name="t" time="1,234.5"/>').duration_ms == 1_234_500
