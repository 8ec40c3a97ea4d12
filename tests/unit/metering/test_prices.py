"""What tokens cost: the user's table, the shipped one, and nothing where neither knows."""

import datetime as dt

import pytest

from storage.exceptions import InputError
from tasks.metering.prices import Price, Prices
from tasks.metering.requests import TokenUsage

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
MILLION = TokenUsage(1_000_000, 1_000_000, 0, 0)


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path))

    def write(text):
        (tmp_path / "prices.toml").write_text(text)
        return Prices.current()

    return write


def test_a_known_model_has_a_price_and_a_version():
    cost, version = Prices().cost("gpt-4o", TokenUsage(1000, 100, 400), NOW, provider="openai")
    # 600 fresh at 2.50, 400 cached at 1.25, 100 out at 10 USD a million
    assert cost == pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)
    assert version.startswith("genai-prices ")


def test_a_model_of_another_provider_is_found_too():
    assert Prices().cost("claude-sonnet-4-5", MILLION, NOW, provider="openai")[0] > 0


@pytest.mark.parametrize("model", [None, "nobody-knows-this", ""])
def test_an_unknown_model_costs_something_that_nobody_knows(model):
    """NULL, not 0."""
    assert Prices().cost(model, MILLION, NOW) == (None, None)


@pytest.mark.parametrize("usage", [TokenUsage(), TokenUsage(5, None), TokenUsage(None, 5)])
def test_unknown_tokens_cost_something_that_nobody_knows(usage):
    assert Prices().cost("gpt-4o", usage, NOW) == (None, None)
    assert Price(input=1, output=1).cost_usd(usage) is None


def test_the_users_table_comes_first(table):
    prices = table(
        'version = "mine 3"\n[models."gpt-*"]\ninput = 1\noutput = 2\ncache_read = 0.5\n'
    )
    usage = TokenUsage(1000, 100, 400, 100)
    expected = (500 * 1 + 400 * 0.5 + 100 * 1 + 100 * 2) / 1e6
    assert prices.cost("gpt-4o", usage, NOW) == (pytest.approx(expected), "prices.toml mine 3")
    assert prices.cost("claude-sonnet-4-5", MILLION, NOW)[1].startswith("genai-prices")
    assert "mine 3" in prices.versions


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models]\n", "version"),
        ('version = "1"\n[models.m]\ninput = -1\noutput = 1\n', "models.m.input"),
        ('version = "1"\n[models.m]\ninput = 1\n', "models.m.output"),
        ('version = "1"\n[models.m]\ninput = 1\noutput = 1\nper = 2\n', "models.m.per"),
        ("version = ", "no valid TOML"),
    ],
)
def test_a_wrong_table_is_told_with_its_place(table, text, said):
    with pytest.raises(InputError, match=said):
        table(text)


def test_a_table_that_is_written_anew_holds_at_once(table):
    first = table('version = "1"\n[models.m]\ninput = 1\noutput = 1\n')
    second = table('version = "2"\n[models.m]\ninput = 2\noutput = 2\n ')
    assert first.cost("m", MILLION, NOW)[0] == 2
    assert second.cost("m", MILLION, NOW)[0] == 4
