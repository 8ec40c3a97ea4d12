"""The folder that everything lives in: where it is, that it is private, what is refused."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from storage.exceptions import InputError
from storage.home import Home


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_is_a_hidden_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("GREENLINE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.current().path == tmp_path / ".greenline"


@pytest.mark.parametrize(
    ("named", "expected"),
    [("work/green line", "{cwd}/work/green line"), ("~/g", "{home}/g"), ("~", "{home}")],
)
def test_relative_paths_and_the_tilde_are_resolved(monkeypatch, tmp_path, named, expected):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("GREENLINE_HOME", named)
    wanted = expected.format(cwd=tmp_path / "cwd", home=tmp_path / "me")
    assert str(Home.current().path) == wanted


def test_naming_it_creates_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "new"))
    Home.current()
    assert not (tmp_path / "new").exists()


def test_without_home_the_list_of_users_is_asked(monkeypatch):
    monkeypatch.delenv("GREENLINE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    assert Home.current().path == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".greenline"


def test_an_unknown_user_is_named(monkeypatch):
    monkeypatch.setenv("GREENLINE_HOME", "~nobody-of-that-name/g")
    with pytest.raises(InputError, match="~nobody-of-that-name"):
        Home.current()


def test_the_folder_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        home = Home(tmp_path / "a" / "home").ensure()
        inner = home.folder(home.logs / "deeper")
    finally:
        os.umask(before)
    assert [mode(path) for path in (home.path, home.logs, inner)] == [0o700] * 3


def test_it_can_be_ensured_again(tmp_path):
    home = Home(tmp_path / "home").ensure()
    assert home.ensure() == home


def test_a_home_that_was_opened_is_closed_again(tmp_path):
    home = Home(tmp_path / "home").ensure()
    home.folder(home.services)
    home.path.chmod(0o755)
    home.ensure()
    assert mode(home.path) == 0o700


def test_an_empty_folder_is_taken_and_closed(tmp_path):
    (tmp_path / "empty").mkdir(mode=0o755)
    Home(tmp_path / "empty").ensure()
    assert mode(tmp_path / "empty") == 0o700


def test_a_folder_of_other_things_is_refused_and_left_as_it_was(tmp_path):
    """`GREENLINE_HOME=/tmp` must not close /tmp to everybody."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "thing").touch()
    with pytest.raises(InputError, match="holds other things and is open to other users"):
        Home(shared).ensure()
    assert mode(shared) == 0o755


@pytest.mark.parametrize("below", [".", "home"])
def test_a_file_in_its_place_is_named(tmp_path, below):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"file.*Set GREENLINE_HOME"):
        Home(tmp_path / "file" / below).ensure()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def refusal_for_an_ordinary_user(path):
    """Return what a user who owns nothing is told: `nobody` for root, ourselves otherwise."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"no error"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(pwd.getpwnam("nobody").pw_uid)
            Home(Path(path)).ensure()
        except InputError as error:
            said = str(error).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/usr", "belongs to user root"), ("/usr/greenline-home", "cannot be created")],
)
def test_a_folder_of_somebody_else_is_refused_clearly(path, problem):
    said = refusal_for_an_ordinary_user(path)
    assert problem in said
    assert "GREENLINE_HOME" in said
