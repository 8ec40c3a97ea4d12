"""`greenline skills` and `greenline write-plan`: no service, no ledger, and nothing half done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.support import snapshot

TIDY = """\
---
name: tidy
description: Tidies up.
license: MIT
model: some
metadata:
  parameters:
    what: {required: true, description: What to tidy.}
---
Tidy {{ what }}.
"""


@pytest.fixture
def project(make_repository):
    return make_repository(
        {
            "README.md": "read\n",
            "src/x.py": "x = 1\n",
            ".greenline/skills/tidy/SKILL.md": TIDY,
            ".greenline/skills/broken/SKILL.md": "# no front matter\n",
        }
    )


@pytest.fixture
def alone(tmp_path):
    """A home that is not there yet: these commands need none, and make none."""
    return {"GREENLINE_HOME": str(tmp_path / "no home")}


def test_skills_are_listed_with_where_they_are_from(greenline, project, alone):
    listed = greenline.json("skills", "--repo", project, env=alone)
    assert [(each["name"], each["source"], each["valid"]) for each in listed] == [
        ("broken", "repository", False),
        ("tidy", "repository", True),
        ("characterise", "shipped", True),
        ("hello-world", "shipped", True),
    ]
    assert "must begin with a line '---'" in listed[0]["problem"]
    assert listed[1]["description"] == "Tidies up."
    assert not any("text" in each for each in listed), "a list has no texts"
    told = greenline("skills", cwd=project / "src", env=alone)
    assert told.returncode == 0
    assert [line.split()[:3] for line in told.stdout.splitlines()[1:]] == [
        ["broken", "repository", "no"],
        ["tidy", "repository", "yes"],
        ["characterise", "shipped", "yes"],
        ["hello-world", "shipped", "yes"],
    ]
    assert "note: skill 'broken'" in told.stderr
    assert not Path(alone["GREENLINE_HOME"]).exists()


def test_one_skill_is_shown_in_full(greenline, project, alone):
    shown = greenline.json("skills", "tidy", "--repo", project, env=alone)
    assert shown["text"] == "Tidy {{ what }}."
    assert shown["parameters"] == {"what": {"required": True, "description": "What to tidy."}}
    assert (shown["license"], shown["ignored_keys"]) == ("MIT", ["model"])
    told = greenline("skills", "tidy", cwd=project, env=alone).stdout
    assert told.startswith("tidy: Tidies up.\nrepository: ")
    assert "parameter what (string, required): What to tidy." in told
    assert told.endswith("\n\nTidy {{ what }}.\n")


def test_outside_a_repository_there_are_the_others(greenline, tmp_path, alone):
    names = [each["name"] for each in greenline.json("skills", cwd=tmp_path, env=alone)]
    assert names == ["characterise", "hello-world"]
    mine = tmp_path / "no home/skills/mine/SKILL.md"
    mine.parent.mkdir(parents=True)
    mine.write_text(TIDY.replace("name: tidy", "name: mine"))
    (first, *_) = greenline.json("skills", cwd=tmp_path, env=alone)
    assert (first["name"], first["source"]) == ("mine", "home")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["tidi"], "did you mean 'tidy'?"),
        (["broken"], "cannot be used: line 1: must begin with a line '---'"),
        (["--repo", "/nowhere"], "/nowhere is not there"),
    ],
)
def test_a_skill_or_a_repository_that_is_not_there_is_wrong_input(greenline, project, alone, words, named):  # fmt: skip
    done = greenline("skills", *words, "--json", cwd=project, env=alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def written(folder, *operations):
    keys = ("operation", "path", "content")
    file = folder / "plan.json"
    said = [dict(zip(keys, each, strict=True)) for each in operations]
    file.write_text(json.dumps({"operations": said}))
    return file


def test_a_write_plan_is_carried_out(greenline, project, tmp_path, alone):
    file = written(tmp_path, ("create", "new/a.txt", "1\n"), ("append", "README.md", "more\n"))
    would = greenline("write-plan", file, "--dry-run", cwd=project, env=alone)
    assert would.stdout.splitlines() == [
        "would be made: new/",
        "would be created: new/a.txt (2 bytes)",
        "would be appended to: README.md (10 bytes)",
    ]
    assert not (project / "new").exists()
    report = greenline.json("write-plan", file, "--repo", project, env=alone)
    assert report == {
        "status": "written",
        "operations": [
            {"operation": "create", "path": "new/a.txt", "status": "written", "bytes": 2, "code": None, "message": None},
            {"operation": "append", "path": "README.md", "status": "written", "bytes": 10, "code": None, "message": None},
        ],
        "folders": ["new"],
        "notes": [],
    }  # fmt: skip
    assert (project / "new/a.txt").read_text() == "1\n"
    assert (project / "README.md").read_text() == "read\nmore\n"
    assert not Path(alone["GREENLINE_HOME"]).exists()


def test_a_write_plan_that_does_not_fit_writes_nothing_and_says_why(greenline, project, tmp_path, alone):  # fmt: skip
    file = written(tmp_path, ("overwrite", "src/x.py", ""), ("create", "README.md", ""))
    before = snapshot(project)
    done = greenline("write-plan", file, "--repo", project, "--json", env=alone)
    assert done.returncode == 1
    assert [each["code"] for each in json.loads(done.stdout)["operations"]] == [None, "INVALID_TARGET"]  # fmt: skip
    assert "INVALID_TARGET: create README.md: there is such a file already" in done.stderr
    assert snapshot(project) == before


@pytest.mark.parametrize("text", ["", "operations: [", '{"operations": [{"operation": "create", "path": ".git/hooks/x", "content": ""}]}'])  # fmt: skip
def test_what_is_no_write_plan_is_wrong_input(greenline, project, tmp_path, alone, text):
    (tmp_path / "plan.yaml").write_text(text)
    before = snapshot(project)
    done = greenline("write-plan", tmp_path / "plan.yaml", "--json", cwd=project, env=alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert "plan.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(project) == before


def test_the_schema_of_a_write_plan_is_printed(greenline, alone):
    assert json.loads(greenline("schema", "write-plan", env=alone).stdout)["title"] == "WritePlan"


def test_init_writes_whole_or_not_at_all(greenline, project, tmp_path, alone):
    """`init` writes through a plan: no half of a file, and never what a link points to."""
    (tmp_path / "elsewhere").write_text("mine\n")
    (project / "greenline.toml").symlink_to(tmp_path / "elsewhere")
    assert greenline("init", "--repo", project, env=alone).returncode == 2
    made = greenline.json("init", "--repo", project, "--force", env=alone)
    assert (project / "greenline.toml").read_text() == made["settings"]
    assert not (project / "greenline.toml").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine\n"
    (project / "greenline.toml").unlink()
    (project / "greenline.toml").mkdir()
    done = greenline("init", "--repo", project, "--force", "--json", env=alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a folder" in done.stderr
