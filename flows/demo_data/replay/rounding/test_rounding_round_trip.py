import pytest

from tally.durations import format_duration, parse_duration, round_up


@pytest.mark.parametrize("minutes", [0, 1, 29, 45, 60, 100, 1439])
def test_a_rounded_duration_is_written_and_read_back_unchanged(minutes):
    rounded = round_up(minutes)
    assert parse_duration(format_duration(rounded)) == rounded
