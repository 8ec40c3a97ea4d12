"""The page of a question to a person: what is asked, and the ways to answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flows.artifacts.markdown import block, link, page, words
from flows.artifacts.sheets import Sheet, named
from storage.queries import CtaSummary
from storage.states import CtaKind

_MESSAGE: Final = 3_000

Form = Callable[[dict[str, str]], str]
"""The address of the form that answers a question, with these of its fields filled in."""


def question(row: CtaSummary, form: Form | None) -> Sheet:
    """Return what a person is asked, and how to answer: by a form of the UI, or by a command.

    Args:
        row: the question.
        form: None where the deployment `answer` is not on this server.
    """
    name = row["id"][:8]
    asked = block(row["request_message"], longest=_MESSAGE)
    ways = [_way(row["id"], choice, label, text, form) for choice, label, text in _choices(row)]
    if form is None:
        how = "The deployment `answer` is not on this server: answer in a terminal."
    else:
        how = "Each link opens a form; once it is sent, the run goes on."
    commands = "\n".join(_command(row, name, choice) for choice, _, _ in _choices(row))
    until = row["expires_at"]
    parts = [
        "## This run waits for a person",
        asked,
        words(row["request_prompt"]) if row["request_prompt"] else "",
        how,
        "\n".join(ways),
        "### In a terminal",
        block(f"{commands}\ngreenline resume {row['run_id']}", "sh"),
        f"Until {until:%Y-%m-%d %H:%M} UTC." if until else "",
    ]
    about = named(row) if row["step_number"] is not None else row["feature"] or "the run"
    return Sheet(
        f"question-{row['id']}", "markdown", page(parts), f"A question about {words(about)}"
    )


def _choices(row: CtaSummary) -> list[tuple[str, str, bool]]:
    """Return a question's answers: what to choose, what it means, whether a text is needed."""
    if row["kind"] == CtaKind.APPROVAL:
        return [("approve", "Yes", False), ("reject", "No; the run stops", False)]
    if row["kind"] == CtaKind.TEXT:
        return [("", row["request_placeholder"] or "A text", True)]
    return [
        (option["id"], option["label"], bool(option.get("needs_text")))
        for option in row["request_options"] or ()
    ]


def _way(cta_id: str, choice: str, label: str, needs_text: bool, form: Form | None) -> str:
    shown = words(label) + (" (with a text)" if needs_text else "")
    if form is None:
        return f"- {shown}"
    given = {"question": cta_id, **({"choice": choice} if choice else {})}
    return f"- {link(choice or 'answer', form(given))}: {shown}"


def _command(row: CtaSummary, name: str, choice: str) -> str:
    if row["kind"] == CtaKind.APPROVAL:
        return f"greenline {choice} {name}"
    needs_text = any(text for each, _, text in _choices(row) if each == choice)
    return f"greenline answer {name} {choice}".rstrip() + (' --text "…"' if needs_text else "")
