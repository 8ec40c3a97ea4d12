import pytest

from tally.rates import format_money, parse_money, parse_rates


@pytest.mark.parametrize(
    ("text", "cents"), [("80", 8000), ("95.50", 9550), ("0.05", 5), ("19.99", 1999), ("1.15", 115)]
)
def test_reads_an_amount_to_the_cent(text, cents):
    assert parse_money(text) == cents


@pytest.mark.parametrize("text", ["", "free", "-5", "1.5", "1.234", "1,50", "nan"])
def test_refuses_what_is_no_amount_and_names_it(text):
    with pytest.raises(ValueError, match="not an amount: " + repr(text)):
        parse_money(text)


@pytest.mark.parametrize(("cents", "text"), [(8000, "80.00"), (9550, "95.50"), (5, "0.05")])
def test_writes_two_decimals(cents, text):
    assert format_money(cents) == text


def test_reads_the_rate_of_each_project_and_skips_comments():
    assert parse_rates("# an hour, in euros\natlas 95.50\n\nborealis 80\n") == {
        "atlas": 9550,
        "borealis": 8000,
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("atlas", "a rate needs a project and an amount"),
        ("atlas 95.50 euros", "a rate needs a project and an amount"),
        ("atlas much", "not an amount"),
        ("borealis 90", "a second rate for borealis"),
    ],
)
def test_an_error_names_its_line(line, problem):
    with pytest.raises(ValueError, match=f"line 2: {problem}"):
        parse_rates(f"borealis 80\n{line}\n")
