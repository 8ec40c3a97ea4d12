"""A run takes a repository's skills from the commit, and leaves a trail of their use."""

from __future__ import annotations

import pytest
from git import Repo

from tasks.git import Git
from tasks.plan import FeaturePlan, PlanError, check_plan_against_repository
from tasks.prepare import check
from tasks.repository import CommitTree
from tasks.skills import find_skills, skills_of_commit
from tasks.skills.events import record_skill_ended, record_skill_started, record_skills_loaded
from tasks.skills.places import LONGEST

TIDY = "---\nname: tidy\ndescription: {}\nmetadata: {{parameters: {{what: {{required: true}}}}}}\n---\nTidy {{{{ what }}}}.\n"
AT = ".greenline/skills"


@pytest.fixture(autouse=True)
def no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def repo(make_repo):
    return make_repo({
        f"{AT}/tidy/SKILL.md": TIDY.format("committed"),
        f"{AT}/tidy/references/more.md": "more",
        f"{AT}/broken/SKILL.md": "no",
        f"{AT}/empty/README.md": "",
        f"{AT}/long/SKILL.md": "x" * (LONGEST + 1),
        f"{AT}/.cache/SKILL.md": "",
        f"{AT}/README.md": "",
        "src/x.py": "",
    })  # fmt: skip


def tree(repo, commit="HEAD"):
    return CommitTree(Git(repo / ".git"), commit)


def test_the_commit_counts_and_not_the_files_on_disk(repo, no_home):
    (repo / AT / "tidy/SKILL.md").write_text(TIDY.format("edited"))
    of_commit = skills_of_commit(tree(repo), no_home)
    assert dict(of_commit.listing())["tidy"] == "committed"
    assert of_commit.render("tidy", {"what": "x"}) == "Tidy x."
    assert dict(find_skills(repo, no_home).listing())["tidy"] == "edited"


def test_folder_and_commit_say_the_same_of_what_is_wrong(repo, no_home):
    of_commit, of_folder = skills_of_commit(tree(repo), no_home), find_skills(repo, no_home)
    assert of_commit.names == of_folder.names == ("characterise", "hello-world", "tidy")
    for skills in (of_commit, of_folder):
        problems = {each.name: each.problem for each in skills.found if each.problem}
        assert problems.keys() == {"broken", "empty", "long"}
        assert "must begin with a line" in problems["broken"]
        assert problems["empty"] == "has no SKILL.md"
        assert "longer than" in problems["long"]
        assert len(skills.warnings) == 3


@pytest.mark.parametrize("at", [".greenline", AT, f"{AT}/tidy", f"{AT}/tidy/SKILL.md"])
def test_committed_links_are_not_followed(make_repo, tmp_path, no_home, at):
    root = make_repo({"x": ""}, "linked")
    (tmp_path / "target").mkdir()
    (root / at).parent.mkdir(parents=True, exist_ok=True)
    (root / at).symlink_to(tmp_path / "target")
    checkout = Repo(root)
    checkout.git.add("-A")
    checkout.git.commit("-m", "x", env={"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"})  # fmt: skip
    skills = skills_of_commit(tree(root), no_home)
    assert skills.names == ("characterise", "hello-world")
    assert "link" in skills.warnings[0] or "no regular file" in skills.warnings[0]


def plan(**skill):
    step = {"step_type": "implementation", "file_path": "src/x.py", "instructions": "x", "skill": skill}  # fmt: skip
    subtask = {"key": "a", "title": "A", "steps": [step]}
    return FeaturePlan.model_validate({"feature": "F", "tasks": [{"title": "T", "subtasks": [subtask]}]})  # fmt: skip


def test_a_plan_may_name_the_skills_of_the_commit_that_it_starts_from(repo):
    assert check_plan_against_repository(plan(name="tidy", parameters={"what": "x"}), tree(repo)) == []  # fmt: skip
    with pytest.raises(PlanError) as caught:
        check_plan_against_repository(plan(name="tidy"), tree(repo))
    assert caught.value.problems[0].path.endswith("skill.parameters.what")
    with pytest.raises(PlanError, match="cannot be used"):
        check_plan_against_repository(plan(name="broken"), tree(repo))


def test_skills_that_are_left_out_are_told_when_a_run_is_checked(repo, tmp_path):
    (tmp_path / "greenline.toml").write_text(
        '[project]\ntest = "true {report}"\n[agents.one]\nadapter = "command"\n'
        'command = ["true"]\n[roles]\nDevonAider = "one"\n'
    )
    file = tmp_path / "plan.json"
    file.write_text(plan(name="tidy", parameters={"what": "x"}).model_dump_json(exclude_unset=True))
    checked = check(file, repo=repo, config=tmp_path / "greenline.toml")
    assert [each for each in checked.notes if each.startswith("skill 'broken' (")]
    file.write_text(plan(name="tidyy").model_dump_json(exclude_unset=True))
    with pytest.raises(PlanError, match="did you mean 'tidy'"):
        check(file, repo=repo, config=tmp_path / "greenline.toml")


def test_each_use_of_a_skill_leaves_a_trail(stored, repo, no_home):
    skills = skills_of_commit(tree(repo), no_home)
    given = {"what": "x" * 5000}
    with stored.database.transaction() as ledger:
        record_skills_loaded(ledger, stored.run_id, skills)
        record_skill_started(ledger, stored.run_id, stored.ws_id, skills, "tidy", given, attempt=7)
        record_skill_ended(ledger, stored.run_id, stored.ws_id, "tidy", attempt=7, passed=True, reason="green", duration_ms=5)  # fmt: skip
        record_skill_ended(ledger, stored.run_id, stored.ws_id, "tidy", attempt=8, passed=False, reason="r" * 9000, duration_ms=6)  # fmt: skip
    with stored.database.get_connection() as connection:
        loaded, started, completed, failed = connection.execute(
            "SELECT event_type, ws_id, payload_json AS said FROM events WHERE event_type LIKE 'skill%' ORDER BY id"
        ).fetchall()
    assert loaded["event_type"] == "skills_loaded"
    assert loaded["said"]["skills"] == {"characterise": "shipped", "hello-world": "shipped", "tidy": "repository"}  # fmt: skip
    assert len(loaded["said"]["skipped"]) == 3
    assert (started["event_type"], started["ws_id"]) == ("skill_execution_started", stored.ws_id)
    assert started["said"]["characters"] == len("Tidy .") + 5000
    assert len(started["said"]["parameters"]["what"]) < 2100
    assert completed["event_type"] == "skill_execution_completed"
    assert completed["said"] == {"skill": "tidy", "attempt": 7, "result": "green", "duration_ms": 5}
    assert failed["event_type"] == "skill_execution_failed"
    assert len(failed["said"]["result"]) < 2100
