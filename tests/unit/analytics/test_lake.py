"""A lake has each row once, as it was told last, whatever happened to whoever wrote it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.errors import AnalyticsError
from analytics.intake import Intake, Marks
from analytics.lake import Lake, new_connection, week_of
from analytics.writer import CROWDED

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def put(writer, *rows, table="projects"):
    """Add rows of (id, name, created_at)."""
    values = [duckdb.ConstantExpression(None)] * 3
    relation = writer.connection.values(*values).filter("false") if not rows else None
    for row in rows:
        one = writer.connection.values(*(duckdb.ConstantExpression(value) for value in row))
        relation = one if relation is None else relation.union(one)
    columns = [
        duckdb.ColumnExpression(f"col{n}").alias(name)
        for n, name in enumerate(("id", "name", "created_at"))
    ]
    writer.add(table, relation.select(*columns))


def write(root, *rows, **given):
    with Lake(str(root)).writing() as writer:
        put(writer, *rows, **given)


def read(root, table="projects"):
    with new_connection() as connection:
        Lake(str(root)).view(connection, table)
        return sorted(connection.table(f"ledger_{table}").select("id", "name", "week").fetchall())


@contextmanager
def cut_off(root):
    """A writer that does not come to its end."""
    with suppress(ZeroDivisionError), Lake(str(root)).writing() as writer:
        yield writer
        raise ZeroDivisionError


def names(root, table="projects"):
    return sorted(
        str(path.relative_to(root / table)) for path in (root / table).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        ("2026-01-01T00:00:00Z", "2026-W01"),
        ("2025-12-28T23:59:59Z", "2025-W52"),
        ("2025-12-29T00:00:00Z", "2026-W01"),
        ("2027-01-03T23:59:59Z", "2026-W53"),
        ("2027-01-04T00:30:00+01:00", "2026-W53"),
    ],
)
def test_a_week_is_the_iso_week_in_utc(moment, week):
    """In Python, in DuckDB, and by the beginning of a line alike."""
    assert week_of(datetime.fromisoformat(moment)) == week
    with new_connection() as connection:
        assert connection.execute("SELECT iso_week($1::TIMESTAMPTZ)", [moment]).fetchall() == [
            (week,)
        ]


def test_the_last_word_counts(tmp_path):
    write(tmp_path, (1, "a", NOW), (2, "b", NOW))
    write(tmp_path, (1, "c", NOW), (3, "d", None))
    assert read(tmp_path) == [(1, "c", "2026-W47"), (2, "b", "2026-W47"), (3, "d", "none")]


def test_a_block_that_raises_leaves_nothing(tmp_path):
    write(tmp_path, (1, "a", NOW))
    before = names(tmp_path)
    with cut_off(tmp_path) as writer:
        put(writer, (1, "b", NOW))
    assert names(tmp_path) == before
    assert read(tmp_path) == [(1, "a", "2026-W47")]
    assert not (tmp_path / ".unfinished").exists()


def test_what_an_earlier_writer_left_unfinished_is_removed(tmp_path):
    (tmp_path / ".unfinished" / "0" / "projects" / "week=2026-W47").mkdir(parents=True)
    (tmp_path / ".unfinished" / "0" / "projects" / "week=2026-W47" / "base.parquet").write_bytes(
        b"PAR1"
    )
    write(tmp_path, (1, "a", NOW))
    assert read(tmp_path) == [(1, "a", "2026-W47")]


def test_a_closed_week_becomes_one_file_and_the_open_one_when_it_is_crowded(tmp_path):
    old, now = datetime.now(UTC) - timedelta(days=30), datetime.now(UTC)
    for number in range(CROWDED + 2):
        write(tmp_path, (number, "a", now), (1000 + number, "a", old))
        assert len(list((tmp_path / "projects" / f"week={week_of(old)}").iterdir())) == 1
        assert len(list((tmp_path / "projects" / f"week={week_of(now)}").iterdir())) <= CROWDED
    assert len(read(tmp_path)) == 2 * (CROWDED + 2)


def test_a_week_that_ends_is_merged_by_the_next_writer_whatever_it_writes(tmp_path):
    """Nobody may write to that week again."""
    write(tmp_path, (1, "a", NOW))
    write(tmp_path, (1, "b", NOW))
    lake = Lake(str(tmp_path))
    with lake.writing() as writer:
        writer.tidy(NOW)
        count = len(names(tmp_path))
        writer.tidy(NOW + timedelta(days=7))
    assert len(names(tmp_path)) == 1 <= count
    assert read(tmp_path) == [(1, "b", "2026-W47")]


def test_a_merge_that_was_cut_off_is_done_by_the_next_writer(tmp_path):
    """The base has all of it already, the older deltas are gone, newer ones are not."""
    now = datetime.now(UTC)
    for name in "abcd":
        write(tmp_path, (1, name, now), (ord(name), name, now))
    folder = tmp_path / "projects" / f"week={week_of(now)}"
    deltas = sorted(folder.glob("delta-*"))
    with new_connection() as connection:
        lake = Lake(str(tmp_path))
        rows = lake.latest(connection, sorted(map(str, folder.iterdir())), "projects")
        rows.write_parquet(str(tmp_path / "merged.parquet"))
    (tmp_path / "merged.parquet").replace(folder / "base.parquet")
    expected = read(tmp_path)
    for delta in deltas:
        assert read(tmp_path) == expected
        delta.unlink()
    assert read(tmp_path) == expected


def test_all_weeks_are_looked_at_again_after_a_writer_was_cut_off(tmp_path):
    """Its mark is gone as long as files appear."""
    write(tmp_path, (1, "a", NOW))
    mark = tmp_path / ".tidy"
    assert mark.read_text() == week_of(datetime.now(UTC))
    with cut_off(tmp_path) as writer:
        put(writer, (1, "b", NOW - timedelta(days=70)))
        put(writer, (2, "b", NOW - timedelta(days=70)))
        writer.publish()
        assert not mark.exists()
    assert len(names(tmp_path)) == 3
    with Lake(str(tmp_path)).writing():
        pass
    assert len(names(tmp_path)) == 2
    assert mark.exists()


def test_replacing_leaves_what_was_added_and_nothing_else(tmp_path):
    write(tmp_path, (1, "a", NOW), (2, "b", NOW - timedelta(days=50)))
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "mine").write_text("theirs")
    with Lake(str(tmp_path)).writing() as writer:
        put(writer, (3, "c", NOW))
        writer.publish(replace=True)
        assert writer.files == 1
    assert read(tmp_path) == [(3, "c", "2026-W47")]
    assert (tmp_path / "imported" / "mine").read_text() == "theirs"
    with Lake(str(tmp_path)).writing() as writer:
        writer.publish(replace=True)
    assert read(tmp_path) == []


def test_a_column_that_no_table_has_is_refused(tmp_path):
    told = pytest.raises(AnalyticsError, match="projects has no column col0; it has id, name")
    with told, Lake(str(tmp_path)).writing() as writer:
        writer.add("projects", writer.connection.values(duckdb.ConstantExpression(1)))
    assert not (tmp_path / "projects").exists()


def test_a_value_of_another_type_is_refused(tmp_path):
    with pytest.raises(AnalyticsError, match="a value does not fit into projects"):
        write(tmp_path, ("not a number", "a", NOW))
    assert not (tmp_path / "projects").exists()


def test_object_storage_is_read_only():
    told = pytest.raises(AnalyticsError, match="are written to a folder, not to s3://bucket")
    with told, Lake("s3://bucket/exports").writing():
        pass


def test_a_second_writer_waits_and_readers_keep_it_waiting(tmp_path):
    write(tmp_path, (1, "a", NOW))
    lake = Lake(str(tmp_path))
    descriptor = os.open(tmp_path / ".lock", os.O_RDWR)
    try:
        with lake.reading(), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with lake.writing(), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_nothing_is_left_in_the_working_directory(tmp_path, monkeypatch):
    """What does not fit into memory goes beside the exports."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with Lake(str(tmp_path / "exports")).writing() as writer:
        (place,) = writer.connection.execute("SELECT current_setting('temp_directory')").fetchall()
        assert place[0].startswith(str(tmp_path / "exports"))
        put(writer, (1, "a", NOW))
    assert list((tmp_path / "here").iterdir()) == []


ROW = st.tuples(st.integers(1, 6), st.sampled_from("abc"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    batches=st.lists(st.lists(ROW, max_size=4, unique_by=lambda row: row[0]), max_size=8),
    merge=st.booleans(),
)
def test_batches_in_any_order_say_what_a_dictionary_says(tmp_path_factory, batches, merge):
    root = tmp_path_factory.mktemp("lake")
    expected: dict[int, str] = {}
    for batch in batches:
        with Lake(str(root)).writing() as writer:
            if batch:
                put(
                    writer,
                    *((key, name, NOW - timedelta(days=7 * (key % 3))) for key, name in batch),
                )
            writer.publish()
            writer.tidy(NOW + timedelta(days=30) if merge else NOW)
        expected |= dict(batch)
    assert [row[:2] for row in read(root)] == sorted(expected.items())


# ---------------------------------------------------------------- lines of CSV


def take(root: Path, *lines: str, columns=("created_at", "id", "name")) -> int:
    with Lake(str(root)).writing() as writer:
        return Intake(writer, "projects", columns, Marks("\\N")).take(
            [line.encode() for line in lines]
        )


def test_lines_are_filed_by_the_time_they_begin_with(tmp_path):
    count = take(
        tmp_path,
        "2026-11-21 12:00:00+00,1,a\n",
        "2027-01-03 23:59:59.999999+00,2,\\N\n",
        '\\N,3,"\\N"\n',
        '2026-11-15 23:00:00+00,4,"a\n5,b"\n',
    )
    assert count == 4
    assert read(tmp_path) == [
        (1, "a", "2026-W47"), (2, None, "2026-W53"), (3, "\\N", "none"), (4, "a\n5,b", "2026-W46"),
    ]  # fmt: skip


def test_rows_of_many_weeks_in_any_order_become_one_file_a_week(tmp_path, monkeypatch):
    """However often what came was put aside in between."""
    monkeypatch.setattr("analytics.intake.ROUND", 2_000)
    lines = [f"2026-{1 + n % 12:02d}-15 00:00:00+00,{n},{'x' * (n % 50)}\n" for n in range(600)]
    take(tmp_path, *lines)
    assert len(names(tmp_path)) == 12
    assert [(row[0], len(row[1] or "")) for row in read(tmp_path)] == [
        (n, n % 50) for n in range(600)
    ]


def test_a_large_week_comes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("analytics.intake.ROUND", 1_000)
    monkeypatch.setattr("analytics.intake.PART", 3_000)
    take(tmp_path, *(f"2026-03-15 00:00:00+00,{n},name\n" for n in range(500)))
    assert [row[0] for row in read(tmp_path)] == list(range(500))
    assert names(tmp_path) == ["week=2026-W11/base.parquet"]


def test_a_line_that_does_not_fit_leaves_nothing(tmp_path):
    with pytest.raises(AnalyticsError, match="does not fit into projects"):
        take(tmp_path, "2026-03-15 00:00:00+00,1,a\n", "2026-03-15 00:00:00+00,one,a\n")
    assert not (tmp_path / "projects").exists()


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(
        st.one_of(st.none(), TEXT, st.sampled_from(['"', '",\n"', "\\N", "\r", "\r\n", '""\n1,2'])),
        min_size=1,
        max_size=12,
    )
)
def test_any_text_comes_through(tmp_path_factory, texts):
    """As PostgreSQL's COPY writes it: quoted where it has to be, or always."""
    root = tmp_path_factory.mktemp("lake")

    def csv(text):
        return "\\N" if text is None else '"' + text.replace('"', '""') + '"'

    take(root, *(f"2026-03-15 00:00:00+00,{n},{csv(text)}\n" for n, text in enumerate(texts)))
    assert [row[1] for row in read(root)] == texts


def test_a_folder_that_holds_something_else_is_not_written_to(tmp_path):
    """A source tree has folders like `tasks` as well: they are no tables to be replaced."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text("mine")
    with pytest.raises(AnalyticsError, match="no table of exports"), Lake(str(tmp_path)).writing():
        pass
    assert (tmp_path / "tasks" / "mine.py").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "steps").write_text("a file")
    other = Lake(str(tmp_path / "other"))
    with pytest.raises(AnalyticsError, match="no table of exports"), other.writing():
        pass
