import pytest

from tally.durations import format_duration, parse_duration, round_up


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1h30m", 90), ("2h", 120), ("45m", 45), ("0m", 0), ("1h05m", 65), ("90m", 90)],
)
def test_reads_hours_and_minutes(text, minutes):
    assert parse_duration(text) == minutes


@pytest.mark.parametrize(("text", "minutes"), [("1:30", 90), ("0:05", 5), ("12:00", 720)])
def test_reads_clock_notation(text, minutes):
    assert parse_duration(text) == minutes


@pytest.mark.parametrize("text", ["", "90", "1h 30m", "30m1h", "-5m", "two hours", "1:75", "1:5"])
def test_refuses_what_is_no_duration_and_names_it(text):
    with pytest.raises(ValueError, match="not a duration: " + repr(text)):
        parse_duration(text)


@pytest.mark.parametrize(
    ("minutes", "text"), [(90, "1h30m"), (120, "2h"), (45, "45m"), (0, "0m"), (65, "1h05m")]
)
def test_writes_the_shortest_form(minutes, text):
    assert format_duration(minutes) == text


def test_refuses_to_write_a_negative_duration():
    with pytest.raises(ValueError, match="negative: -1"):
        format_duration(-1)


@pytest.mark.parametrize(
    ("minutes", "rounded"), [(0, 0), (1, 15), (14, 15), (15, 15), (16, 30), (60, 60), (61, 75)]
)
def test_rounds_up_to_the_next_quarter_of_an_hour(minutes, rounded):
    assert round_up(minutes) == rounded


def test_rounds_up_to_another_unit():
    assert round_up(61, unit=60) == 120


def test_minutes_that_fit_the_unit_stay():
    assert round_up(7, unit=1) == 7


@pytest.mark.parametrize("unit", [0, -15])
def test_refuses_a_unit_that_is_no_duration(unit):
    with pytest.raises(ValueError, match=f"unit must be at least one minute: {unit}"):
        round_up(10, unit=unit)


def test_refuses_to_round_a_negative_duration():
    with pytest.raises(ValueError, match="negative: -1"):
        round_up(-1)
