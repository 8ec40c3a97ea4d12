import pytest

from tally.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1h30m", 90), ("2h", 120), ("45m", 45), ("0m", 0), ("1h05m", 65), ("90m", 90)],
)
def test_reads_hours_and_minutes(text, minutes):
    assert parse_duration(text) == minutes


@pytest.mark.parametrize("text", ["", "90", "1h 30m", "30m1h", "-5m", "two hours"])
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
