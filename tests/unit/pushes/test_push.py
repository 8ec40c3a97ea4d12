"""What a push is, and the small files it is kept in until a flow has dealt with it."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.exceptions import InputError
from storage.home import Home
from tasks.pushes import spool
from tasks.pushes.push import Push

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40


def push(**given_):
    return Push.of(
        **{"repository": "/srv/roman.git", "ref": "refs/heads/main", "before": A, "after": B}
        | given_
    )


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").ensure()


def hook_writes(home, name, kind, repository, lines, pusher="ann"):
    folder = home.folder(spool.waiting_folder(home))
    text = "\0".join((kind, repository, pusher, "2026-11-21T16:00:00Z", lines + "\n"))
    (folder / name).write_bytes(os.fsencode(text))
    return folder / name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repository", "srv/roman.git"),
        ("repository", "/srv/ro\nman"),
        ("repository", "/srv/\udcff"),
        ("repository", "github.com/Acme/Roman"),
        ("repository", ""),
        ("ref", "main"),
        ("ref", "refs/heads/a\0b"),
        ("before", "a" * 39),
        ("after", "--output=x"),
        ("after", "A" * 40),
    ],
)
def test_what_is_no_push_is_refused_and_shown(field, value):
    """Whoever tells of a push may say anything; what is no push is named in one message."""
    with pytest.raises(InputError) as raised:
        push(**{field: value})
    assert repr(value[:100])[1:-1] in str(raised.value)


def test_the_same_push_is_one_event_whoever_tells_of_it():
    """A push that is told twice, at another time and by another one, has one event id."""
    first, again = push(pusher="ann", at="2026-01-01T00:00:00Z"), push(pusher="bob")
    assert first.id == again.id == first.event()["id"]
    assert len({push(ref="refs/heads/x").id, push(before=ZERO).id, push(after=A).id, first.id}) == 4


@given(st.text(max_size=300))
def test_a_pusher_is_one_line_of_plain_text(name):
    """Whatever calls itself the pusher gets to the event as one line that UTF-8 can hold."""
    who = push(pusher=name).pusher
    assert len(who) <= 200 and who.isprintable() and who.encode() is not None


def test_a_hook_is_read_as_git_gave_it(home):
    """Each line that git gives a hook is a push; lines that are none are left out."""
    lines = f"{A} {B} refs/heads/main\n{ZERO} {B} refs/tags/v1\nnonsense"
    file = hook_writes(home, "1.push", "post-receive", "/srv/a 'b'.git", lines)
    found = spool.pushes_in(file)
    assert [(p.repository, p.ref, p.before, p.after, p.pusher) for p in found] == [
        ("/srv/a 'b'.git", "refs/heads/main", A, B, "ann"),
        ("/srv/a 'b'.git", "refs/tags/v1", ZERO, B, "ann"),
    ]


def test_the_order_of_git_in_a_pre_push_hook(home):
    """A pre-push hook gets local ref and commit first, and what the remote has."""
    lines = f"refs/heads/x {B} refs/heads/main {A}"
    found = spool.pushes_in(hook_writes(home, "1.push", "pre-push", "/srv/work", lines))
    assert [(p.ref, p.before, p.after) for p in found] == [("refs/heads/main", A, B)]


def test_a_first_commit_and_a_checkout_that_is_pushed_into(home):
    """A commit without a parent begins at zeros; `.git` stands for its checkout."""
    found = spool.pushes_in(
        hook_writes(home, "1.push", "post-commit", "/srv/work/.git", f" {B} refs/heads/main")
    )
    assert [(p.repository, p.before, p.creates) for p in found] == [("/srv/work", ZERO, True)]


@given(st.binary(max_size=400), st.sampled_from([".push", ".json"]))
def test_whatever_lies_there_is_read(tmp_path_factory, content, ending):
    """No file that somebody left among the waiting pushes stops the others from being told."""
    file = tmp_path_factory.mktemp("waiting") / f"x{ending}"
    file.write_bytes(content)
    assert all(isinstance(one, Push) for one in spool.pushes_in(file))


def test_a_push_is_kept_once(home):
    """The same push that is heard of twice waits once, and comes back as it was."""
    for _ in range(2):
        spool.keep(home, push(pusher="ann"))
    (file,) = spool.waiting(home)
    assert spool.pushes_in(file)[0].payload() == push(pusher="ann").payload()


def test_only_so_many_wait(home, monkeypatch):
    """The oldest pushes go when more wait than are kept for a server that does not come."""
    monkeypatch.setattr(spool, "MOST_WAITING", 3)
    for number in range(5):
        file = hook_writes(
            home, f"{number}.push", "post-receive", "/srv/x", f"{A} {B} refs/heads/x"
        )
        os.utime(file, (number, number))
    (spool.waiting_folder(home) / ".new-half").write_text("being written")
    assert [file.name for file in spool.waiting(home)] == ["2.push", "3.push", "4.push"]
    assert (spool.waiting_folder(home) / ".new-half").exists()


def test_one_flow_deals_with_a_push(home):
    """While one flow has a push another one gets nothing; when it is through, nothing is left."""
    spool.note_sent(home, push())
    with spool.claimed(home, push()) as first:
        with spool.claimed(home, push()) as second:
            assert (first, second) == (True, False)
        assert spool.lost_pushes(home, late_s=0) == []
    assert spool.lost_pushes(home, late_s=0) == []


def test_a_push_whose_flow_is_cut_off_is_found_until_it_is_hopeless(home):
    """A flow that is cut off leaves its push to be taken up, three times and no more."""
    for tries in range(1, 4):
        with pytest.raises(KeyboardInterrupt), spool.claimed(home, push()):
            raise KeyboardInterrupt
        found = spool.lost_pushes(home, late_s=0)
        assert [(one.push.id, one.tries) for one in found] == (
            [(push().id, tries)] if tries < 3 else []
        )
    assert spool.lost_pushes(home, late_s=0) == []


def test_a_push_that_was_just_told_is_not_taken_for_lost(home):
    """The worker gets a minute before somebody else takes a push up."""
    spool.note_sent(home, push())
    assert spool.lost_pushes(home) == []


def test_a_push_that_is_wrong_is_not_tried_again(home):
    """What is wrong with a push is wrong the next time, too."""
    with pytest.raises(InputError), spool.claimed(home, push()):
        raise InputError("no such repository")
    assert spool.lost_pushes(home, late_s=0) == []


def test_what_is_told_is_an_event_as_prefect_takes_it():
    """Prefect's own model takes the event, and the flow's parameters come out of its payload."""
    from prefect.server.events.schemas.events import Event

    read = Event.model_validate_json(json.dumps([push().event()])[1:-1])
    assert read.event == "git.push" and read.resource.id.startswith("git.repository.")
    assert set(read.payload) == {"repository", "ref", "before", "after", "pusher"}
