"""The user's repository is found, read and given branches; nothing else of it changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.exceptions import InputError
from storage.home import Home
from tasks.git import RefMoved
from tasks.repository import BranchTaken, UserRepository
from tasks.sandbox.clone import ProjectClone, alternates


def git(folder: Path, *arguments: str, **environment: str) -> str:
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Ann",
        "GIT_COMMITTER_EMAIL": "ann@example.org",
    }
    done = subprocess.run(
        ["git", "-C", folder, *arguments], env=clean | environment, capture_output=True, check=True
    )
    return os.fsdecode(done.stdout).rstrip("\n")


@pytest.fixture(autouse=True)
def _nobodys_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "roman"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "src").mkdir()
    (path / "src/a.py").write_text("a = 1\n")
    (path / "README").write_text("read me\n")
    (path / "link").symlink_to("src/a.py")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "First")
    return path


@pytest.fixture
def clone(tmp_path, folder) -> ProjectClone:
    user = UserRepository.open(folder)
    return ProjectClone.prepare(Home(tmp_path / "home").ensure(), user, user.head)


def new_commit(clone: ProjectClone, parent: str, name: str = "new") -> str:
    blob = clone.git.text("hash-object", "-w", "--stdin", stdin=name.encode())
    tree = clone.git.text("mktree", stdin=f"100644 blob {blob}\t{name}\n".encode())
    return clone.git.text("commit-tree", tree, "-p", parent, stdin=name.encode())


def checkout(folder: Path) -> dict[str, str]:
    """All files but git's own, and those of git's that say what is checked out."""
    found = {}
    for at, folders, files in os.walk(folder):
        if at == str(folder):
            folders.remove(".git")
        for name in files:
            path = Path(at, name)
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    for name in ("HEAD", "index", "config"):
        found[name] = hashlib.sha256((folder / ".git" / name).read_bytes()).hexdigest()
    return found


# --- opening


def test_a_folder_of_the_checkout_leads_to_its_top(folder):
    for given in (folder, folder / "src", str(folder)):
        found = UserRepository.open(given)
        assert found.path == folder.resolve()
        assert (found.name, found.default_branch, found.is_bare) == ("roman", "main", False)
        assert found.head == git(folder, "rev-parse", "HEAD")


def test_a_path_through_a_link_is_the_same_repository(folder, tmp_path):
    (tmp_path / "other").symlink_to(folder)
    assert UserRepository.open(tmp_path / "other").path == UserRepository.open(folder).path


def test_a_bare_repository_will_do(folder, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(folder), "bare.git")
    found = UserRepository.open(tmp_path / "bare.git")
    assert (found.name, found.is_bare, found.dirty()) == ("bare", True, [])
    assert found.show(found.head, "README") == b"read me\n"


def test_a_linked_worktree_and_a_submodule_will_do(folder, tmp_path):
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = UserRepository.open(tmp_path / "side")
    assert (side.path.name, side.default_branch) == ("side", "side")
    assert side.common_dir == (folder / ".git").resolve()
    git(folder, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(folder), "sub")
    sub = UserRepository.open(folder / "sub")
    assert sub.path == (folder / "sub").resolve()
    home = Home(tmp_path / "home").ensure()
    for each in (side, sub):
        made = ProjectClone.prepare(home, each, each.head)
        assert made.git.tree_of(each.head)


def test_strange_letters_in_the_path_will_do(folder, tmp_path):
    strange = folder.rename(tmp_path / 'a "b"\n$ü#')
    found = UserRepository.open(strange)
    assert found.path == strange.resolve()
    made = ProjectClone.prepare(Home(tmp_path / "home").ensure(), found, found.head)
    assert made.git.tree_of(found.head)
    assert alternates(Path("/a b#")) == b"/a b#\n"


def test_the_callers_git_variables_lead_nowhere_else(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert UserRepository.open(folder).path == folder.resolve()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: None, "not there"),
        (lambda at: at.write_text(""), "a file"),
        (lambda at: at.mkdir(), "git init"),
        (lambda at: (at.mkdir(), git(at, "init", "-q")), "no commit yet"),
    ],
)
def test_what_is_no_repository_with_a_commit_is_refused_with_what_would_work(tmp_path, make, says):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=says):
        UserRepository.open(tmp_path / "x")


def test_inside_the_git_folder_the_checkout_is_named(folder):
    with pytest.raises(InputError, match=str(folder)):
        UserRepository.open(folder / ".git/refs")


def test_a_head_without_commits_beside_a_branch_that_has_some_is_said_so(folder):
    git(folder, "symbolic-ref", "HEAD", "refs/heads/other")
    with pytest.raises(InputError, match="main"):
        UserRepository.open(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_repository_needs_the_users_word(folder, tmp_path):
    subprocess.run(["chown", "-R", "1234", folder], check=True)
    with pytest.raises(InputError, match=r"safe\.directory"):
        UserRepository.open(folder)
    (tmp_path / "gitconfig").write_text(f"[safe]\n\tdirectory = {folder}\n")
    found = UserRepository.open(folder)
    assert found.dirty() == []


def test_a_detached_head_still_has_a_default_branch(folder):
    git(folder, "checkout", "-q", "--detach")
    assert UserRepository.open(folder).default_branch == "main"


# --- reading


def test_a_commit_says_what_it_has(folder):
    found = UserRepository.open(folder)
    tree = found.tree()
    assert tree.exists("src")
    assert tree.is_dir("src")
    assert not tree.is_dir("README")
    assert tree.is_symlink("link")
    assert tree.symlink_target("link") == "src/a.py"
    assert tree.show("src/a.py") == b"a = 1\n"
    assert not tree.exists("nope")
    assert tree.show("nope") is None
    assert tree.show("src") is None
    with pytest.raises(InputError):
        tree.symlink_target("README")
    with pytest.raises(InputError, match="no commit 'nope'"):
        found.resolve("nope")


def test_uncommitted_changes_are_listed_and_nothing_is_touched_or_run(folder, tmp_path):
    git(folder, "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    git(folder, "config", "filter.x.required", "true")
    git(folder, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    (folder / ".git/info/attributes").write_text("* filter=x\n")
    (folder / "README").write_text("changed\n")
    (folder / "new file").write_text("new\n")
    (folder / "ignored").write_text("")
    (folder / ".git/info/exclude").write_text("ignored\n")
    os.utime(folder / "src/a.py")
    (folder / ".git/index").touch()
    before = checkout(folder)
    assert sorted(UserRepository.open(folder).dirty()) == ["README", "new file"]
    assert checkout(folder) == before
    assert not (tmp_path / "ran").exists()


def test_the_users_own_name_is_found(folder, tmp_path):
    assert UserRepository.open(folder).identity.name == "Greenline"
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Ann Example\n\temail = ann@example.org\n")
    assert UserRepository.open(folder).identity.name == "Ann Example"
    git(folder, "config", "user.name", "Ann at work")
    assert UserRepository.open(folder).identity.name == "Ann at work"


# --- giving branches


def test_a_branch_is_published_without_a_touch_on_the_checkout_and_without_hooks(
    folder, clone, tmp_path
):
    for name in ("reference-transaction", "post-receive", "pre-receive", "update"):
        hook = folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        hook.chmod(0o755)
    before = checkout(folder)
    user = UserRepository.open(folder)
    made = new_commit(clone, user.head)
    clone.git.move_ref("refs/heads/greenline/r", made, None)
    assert user.publish_branch(clone.git, "refs/heads/greenline/r", "greenline/r") == made
    assert git(folder, "rev-parse", "greenline/r") == made
    assert git(folder, "fsck", "--strict", "--no-dangling") == ""
    assert checkout(folder) == before
    assert not (tmp_path / "ran").exists()
    # The user's repository needs nothing of the clone.
    subprocess.run(["rm", "-rf", clone.path], check=True)
    assert git(folder, "show", "greenline/r:new") == "new"


def test_publishing_again_follows_the_same_work_and_nothing_else(folder, clone):
    user = UserRepository.open(folder)
    first = new_commit(clone, user.head)
    second = new_commit(clone, first, "second")
    assert user.publish_branch(clone.git, first, "greenline/r") == first
    assert user.publish_branch(clone.git, first, "greenline/r") == first
    assert user.publish_branch(clone.git, second, "greenline/r") == second
    with pytest.raises(BranchTaken, match="rename or delete"):
        user.publish_branch(clone.git, new_commit(clone, user.head, "x"), "greenline/r")
    assert git(folder, "rev-parse", "greenline/r") == second


def test_a_checked_out_branch_is_never_moved(folder, clone, tmp_path):
    user = UserRepository.open(folder)
    made = new_commit(clone, user.head)
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    assert user.checked_out_branches() == {"main", "side"}
    for branch in ("main", "side"):
        with pytest.raises(BranchTaken, match="checked out"):
            user.publish_branch(clone.git, made, branch)
        with pytest.raises(BranchTaken, match="checked out"):
            user.advance_branch(branch, made, user.head)
    assert git(folder, "rev-parse", "main") == user.head


def test_a_branch_in_the_middle_of_a_rebase_counts_as_checked_out(folder):
    git(folder, "branch", "work")
    git(folder, "checkout", "-q", "work")
    env = {"GIT_SEQUENCE_EDITOR": "sed -i 1s/pick/edit/"}
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    git(folder, "rebase", "-q", "-i", "--keep-empty", "HEAD~1", **env)
    assert "work" in UserRepository.open(folder).checked_out_branches()


def test_merging_moves_a_branch_forward_only(folder, clone):
    git(folder, "branch", "release")
    user = UserRepository.open(folder)
    made = new_commit(clone, user.head)
    user.take_objects(clone.git, made)
    user.advance_branch("release", made, user.head)
    assert git(folder, "rev-parse", "release") == made
    with pytest.raises(BranchTaken, match="lose commits"):
        user.advance_branch("release", user.head, made)
    with pytest.raises(RefMoved):
        user.advance_branch("release", made, user.head)


def test_names_that_are_no_branches_are_refused(folder, clone):
    user = UserRepository.open(folder)
    for name in ("a..b", "-x", "a b", ""):
        with pytest.raises(InputError, match="no name"):
            user.publish_branch(clone.git, user.head, name)


# --- our clone


def test_a_clone_is_private_small_and_shows_tags_only(folder, tmp_path):
    git(folder, "tag", "light")
    git(folder, "tag", "-a", "heavy", "-m", "x")
    git(folder, "branch", "secret")
    user = UserRepository.open(folder)
    home = Home(tmp_path / "home").ensure()
    clone = ProjectClone.prepare(home, user, user.head)
    assert clone.path.parent.stat().st_mode & 0o077 == 0
    refs = clone.git.text("for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/tags/heavy", "refs/tags/light"]
    assert clone.git.resolve("heavy") == user.head
    assert not list((clone.path / "objects").glob("??"))
    git(folder, "tag", "-d", "light")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Second")
    user = UserRepository.open(folder)
    again = ProjectClone.prepare(home, user, user.head)
    assert again.path == clone.path
    assert again.git.text("for-each-ref", "--format=%(refname)") == "refs/tags/heavy"


def test_two_repositories_of_one_name_have_two_clones(folder, tmp_path):
    (tmp_path / "b").mkdir()
    git(tmp_path / "b", "clone", "-q", str(folder), "roman")
    home = Home(tmp_path / "home").ensure()
    one, two = UserRepository.open(folder), UserRepository.open(tmp_path / "b/roman")
    assert (
        ProjectClone.prepare(home, one, one.head).path
        != ProjectClone.prepare(home, two, two.head).path
    )


def test_a_shallow_repository_will_do(folder, tmp_path):
    git(folder, "commit", "-q", "--allow-empty", "-m", "Second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{folder}", "shallow")
    user = UserRepository.open(tmp_path / "shallow")
    clone = ProjectClone.prepare(Home(tmp_path / "home").ensure(), user, user.head)
    assert clone.git.text("log", "--format=%s", user.head) == "Second"
    made = new_commit(clone, user.head)
    user.publish_branch(clone.git, made, "greenline/r")
    assert git(tmp_path / "shallow", "log", "--format=%s", "greenline/r") == "new\nSecond"


def test_a_repository_with_sha256_will_do(tmp_path):
    folder = tmp_path / "modern"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    git(folder, "commit", "-q", "--allow-empty", "-m", "First")
    user = UserRepository.open(folder)
    clone = ProjectClone.prepare(Home(tmp_path / "home").ensure(), user, user.head)
    user.publish_branch(clone.git, new_commit(clone, user.head), "greenline/r")
    assert len(git(folder, "rev-parse", "greenline/r")) == 64


def test_many_processes_may_prepare_a_clone_at_once(folder, tmp_path):
    home = Home(tmp_path / "home").ensure()
    code = (
        "import sys; from pathlib import Path; from storage.home import Home; "
        "from tasks.sandbox.clone import ProjectClone; from tasks.repository import UserRepository; "
        "u = UserRepository.open(Path(sys.argv[1])); "
        "print(ProjectClone.prepare(Home(Path(sys.argv[2])), u, u.head).git.tree_of(u.head))"
    )

    def one(_: int) -> str:
        command = [sys.executable, "-c", code, folder, home.path]
        where = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=where, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(4))) == {git(folder, "rev-parse", "HEAD^{tree}")}


def test_a_commit_that_is_not_there_is_refused(folder, tmp_path):
    user = UserRepository.open(folder)
    with pytest.raises(InputError, match="no commit"):
        ProjectClone.prepare(Home(tmp_path / "home").ensure(), user, "1" * 40)
