"""What others wrote stays what they wrote: shown, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.artifacts.markdown import block, code, facts, slug, words
from storage.redaction import HIDDEN

#: As the UI reads Markdown: tables, and addresses that become links by themselves.
READER = MarkdownIt("gfm-like", {"linkify": False, "html": True})
HOSTILE = st.text(
    st.sampled_from("`~#<>![]()|_*\\&\n\r\t -=+:/.@ab1\x00\x1b\u2028\u202e\u200b")
    | st.characters(),
    max_size=80,
)
MEANT = {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}


def tokens(text):
    found = READER.parse(text)
    return [each for token in found for each in (token, *(token.children or ()))]


@given(HOSTILE)
@example("```\n# x")
@example("~~~\n```\n<script>")
@example("`" * 12 + "\n" + "`" * 13 + " \n[x](y)")
@example("\r# heading\r\n```\r")
def test_a_block_is_one_code_block_whatever_it_holds(text):
    """No content ends the block that it stands in."""
    (only,) = tokens(block(text, "diff"))
    assert only.type == "fence"
    assert only.info == "diff"


@given(HOSTILE)
@example("")
@example("`")
@example("a`` `b")
@example(" ` ")
@example("x\n\n# heading")
@example("a\n- b")
def test_a_span_is_one_code_span_whatever_it_holds(text):
    """In a list, and with words of ours before it, too."""
    for around, kept in (("{}", 1), ("A: {} b", 3)):
        children = tokens(around.format(code(text)))
        assert {each.type for each in children} <= MEANT
        assert sum(each.type == "code_inline" for each in children) == (code(text) != "-")
        assert len([each for each in children if each.type in ("text", "code_inline")]) <= kept
    listed = {each.type for each in tokens(facts({"name": text}))}
    assert listed <= MEANT | {
        "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close",
    }  # fmt: skip


@given(HOSTILE | st.text("abc_./ ", max_size=30))
@example("__main__ and www.evil.example")
@example("- a")
@example("1. a")
@example("1) a")
@example("+ a")
@example("a ===")
def test_words_are_words_whatever_they_hold(text):
    """Behind other words, where descriptions have them."""
    assert {each.type for each in tokens(f"About {words(text)}")} <= MEANT


def test_what_cannot_be_seen_is_shown():
    """A diff that turns the direction of writing round shows that it does."""
    assert "\\u202e" in block("a = 1  # \u202e evil")
    assert "\\u001b[31m" in code("\x1b[31mred")


def test_secrets_are_not_shown_and_no_cut_shows_half_of_one():
    key = "sk-ant-" + "a1" * 20
    assert key not in block(f"+KEY = '{key}'")
    assert HIDDEN in code(f"key {key}")
    for longest in range(1, 60):
        assert "a1a1a1" not in block(f"x {key} y", longest=longest)


def test_a_long_text_is_cut_at_a_line_and_says_so():
    text = "\n".join(f"line {number}" for number in range(1_000))
    shown = block(text, longest=100)
    assert shown.count("\n") < 20
    assert shown.endswith("more characters")
    kept, left = shown.split("\n```\n\n… and ")
    assert len(kept.removeprefix("```\n")) + int(left.split()[0].replace(",", "")) == len(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [("Rates/2 «x»", "rates-2-x"), ("", "x"), ("--", "x"), ("ä" * 9, "x"), ("a" * 99, "a" * 40)],
)
def test_a_key_has_only_what_prefect_allows(text, key):
    assert slug(text) == key
