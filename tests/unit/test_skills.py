"""Skills are read from a hostile place, checked before a run, and never more than text."""

from __future__ import annotations

import contextlib
import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.skills import SHIPPED, SkillError, find_skills, parse_skill
from tasks.skills.places import LONGEST, MOST

NONE = Path("/nowhere")


def skill_text(name="tidy", description="Tidies up.", body="Tidy {{ what }}.", **front):
    said = {"name": name, "description": description} | front
    lines = [
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in said.items()
        if value is not None
    ]
    return "\n".join(["---", *lines, "---", body, ""])


def parameters(**specs):
    return {"parameters": specs}


def write(root: Path, name="tidy", text=None, folder=".greenline/skills") -> Path:
    file = root / folder / name / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text(skill_text(name) if text is None else text)
    return file


def problems(text, folder="tidy") -> list[str]:
    with pytest.raises(SkillError) as caught:
        parse_skill(text, folder)
    return [str(problem) for problem in caught.value.problems]


# --- the format


def test_everything_of_the_open_format_is_read():
    text = (
        "\ufeff---\r\nname: tidy\r\ndescription: >\r\n  Tidies\r\n  up.\r\nlicense: MIT\r\n"
        "compatibility: Needs git.\r\nallowed-tools: Bash(git:*) Read\r\nmetadata:\r\n"
        "  author: me\r\n  version: '1.0'\r\n---\r\n\r\n# Tidy\r\n\r\n---\r\nrest\r\n"
    )
    skill = parse_skill(text, "tidy")
    assert (skill.name, skill.description) == ("tidy", "Tidies up.")
    assert (skill.license, skill.compatibility) == ("MIT", "Needs git.")
    assert skill.allowed_tools == ("Bash(git:*)", "Read")
    assert skill.metadata == {"author": "me", "version": "1.0"}
    assert skill.body == "# Tidy\n\n---\nrest"


def test_keys_that_other_programs_have_are_no_problem_and_are_told():
    text = skill_text(model="opus", **{"disable-model-invocation": True})
    assert parse_skill(text, "tidy").ignored == ("disable-model-invocation", "model")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1: must begin with a line '---'"),
        ("# Tidy\n", "must begin with a line '---'"),
        ("---\nname: tidy\n", "has no end"),
        ("---\n---\nx", "is empty"),
        ("---\n- a\n---\n", "must be a mapping"),
        ("---\nname: tidy\nname: tidy\ndescription: x\n---\n", "line 3: name: the key is given twice"),
        ("---\nname: tidy\ndescription: Use it: now\n---\n", "line 3: is no valid YAML: mapping values are not allowed here; put a text with ': ' in it in quotes"),
        ("---\nname: tidy\ndescription: !!python/object:os.system x\n---\n", "not plain data"),
        ("---\nname: tidy\nname2: &a [*a]\ndescription: x\n---\n", "an alias to a value that it is part of"),
        (skill_text(name="Tidy"), "line 2: name: 'Tidy' is no name for a skill"),
        (skill_text(name="tidy--up"), "single hyphens"),
        (skill_text(name="-tidy"), "is no name"),
        (skill_text(name="t" * 65), "at most 64 characters"),
        (skill_text(name="other"), "name: is 'other', and its folder is 'tidy'"),
        (skill_text(name=None), "name: is missing"),
        (skill_text(name=7), "name: must be text, received 7 (a number): put it in quotes"),
        (skill_text(description=None), "description: is missing. What the skill is for"),
        (skill_text(description=" \n "), "must not be empty"),
        (skill_text(description="x" * 1025), "has 1,025 characters"),
        ('---\nname: tidy\ndescription: "a\\eb"\n---\n', "description: has control characters"),
        ('---\nname: tidy\ndescription: "\\ud800"\n---\n', "halves of characters"),
        (skill_text(body="a\n\x1b[2J"), "line 6: has the control character '\\x1b'"),
        (skill_text(compatibility="x" * 501), "compatibility"),
        (skill_text(metadata=parameters(Who={})), "'Who' is no name for a parameter"),
        (skill_text(metadata=parameters(who={"typ": "string"})), "unknown key (did you mean 'type'?)"),
        (skill_text(metadata=parameters(who={"type": "text"})), "must be one of 'string', 'integer'"),
        (skill_text(metadata=parameters(who={"required": True, "default": "x"})), "leave one of the two out"),
        (skill_text(metadata=parameters(who={"type": "integer", "default": "x"})), "its default must be a whole number"),
        (skill_text(metadata=parameters(who={"choices": ["a"], "default": "b"})), "its default must be one of a; received 'b'"),
        (skill_text(metadata=parameters(who={"type": "integer", "choices": ["a"]})), "a choice must be a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_skill_is_named_with_its_line(text, named):
    found = problems(text)
    assert any(named in problem for problem in found), found


@given(st.text(), st.text(alphabet="ab-\n: {}[]&*!#'\"", max_size=60))
def test_any_text_is_a_skill_or_refused(text, front):
    """Whatever a repository holds, the reader says what is wrong with it and goes on."""
    for each in (text, f"---\n{front}\n---\n{text}"):
        with contextlib.suppress(SkillError):
            assert parse_skill(each, "tidy").name == "tidy"


lines = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029\ufeff"), max_size=30)  # fmt: skip


@given(st.lists(lines, max_size=6), lines.filter(lambda text: text.split()))
def test_what_was_written_is_what_is_read(body, description):
    written = "\n".join(body)
    skill = parse_skill(skill_text(description=description, body=written), "tidy")
    assert skill.body == written.strip("\n")
    assert skill.description == " ".join(description.split())


# --- where they are


def test_the_skills_that_come_along_are_valid_and_have_what_they_mention():
    skills = find_skills(None, NONE)
    assert skills.names == ("characterise", "hello-world")
    assert skills.warnings == ()
    assert "Hello, world!" in skills.render("hello-world", {})
    told = skills.render("characterise", {"subject": "src/billing.py"})
    assert "{{" not in told
    assert "Pin down what src/billing.py does" in told
    assert "at most 12 tests" in told
    assert {path.parent.name for path in SHIPPED.glob("*/SKILL.md")} == set(skills.names)


def test_of_a_name_the_persons_own_counts_then_the_repositorys(tmp_path):
    home, repo = tmp_path / "home", tmp_path / "repo"
    write(home, "tidy", skill_text(description="mine"), "skills")
    write(repo, "tidy", skill_text(description="the repository's"))
    write(repo, "hello-world", skill_text("hello-world", "ours"))
    skills = find_skills(repo, home)
    assert dict(skills.listing())["tidy"] == "mine"
    assert dict(skills.listing())["hello-world"] == "ours"
    assert [(each.name, each.source) for each in skills.found if each.hidden] == [("tidy", "repository"), ("hello-world", "shipped")]  # fmt: skip


def test_an_invalid_skill_hides_none_and_is_told(tmp_path):
    write(tmp_path, "hello-world", "nothing")
    write(tmp_path, "tidy")
    skills = find_skills(tmp_path, NONE)
    assert skills.look_up("hello-world").source == "shipped"
    assert "tidy" in skills.names
    (warning,) = skills.warnings
    assert "skill 'hello-world'" in warning
    assert "must begin with a line '---'" in warning


def test_a_list_of_skills_has_nothing_but_names_and_one_line_each(tmp_path):
    """Progressive disclosure: the text of a skill is told when a step names it, not before."""
    write(tmp_path, "tidy", skill_text(description="a\nb\n\n# Do as I say", body="SECRET"))
    listed = dict(find_skills(tmp_path, NONE).listing())
    assert listed["tidy"] == "a b # Do as I say"


def test_links_in_a_repository_are_not_followed(tmp_path):
    """A repository cannot have a file of the user's shown to an agent."""
    outside = write(tmp_path / "outside", "tidy").parent
    for number, lay in enumerate((
        lambda at: (at / ".greenline").symlink_to(outside.parents[1]),
        lambda at: ((at / ".greenline").mkdir(), (at / ".greenline/skills").symlink_to(outside.parent)),
        lambda at: ((at / ".greenline/skills").mkdir(parents=True), (at / ".greenline/skills/tidy").symlink_to(outside)),
        lambda at: ((at / ".greenline/skills/tidy").mkdir(parents=True), (at / ".greenline/skills/tidy/SKILL.md").symlink_to(outside / "SKILL.md")),
    )):  # fmt: skip
        root = tmp_path / str(number)
        root.mkdir()
        lay(root)
        skills = find_skills(root, NONE)
        assert "tidy" not in skills.names
        assert "no link is followed" in skills.warnings[0]


def test_links_in_the_persons_own_folder_are_followed(tmp_path):
    outside = write(tmp_path / "dotfiles", "tidy").parent
    (tmp_path / "home/skills").mkdir(parents=True)
    (tmp_path / "home/skills/tidy").symlink_to(outside)
    assert find_skills(None, tmp_path / "home").look_up("tidy").source == "home"


def test_what_is_no_reasonable_file_is_not_read(tmp_path):
    """Neither a pipe that never ends nor a file that fills the memory."""
    folder = tmp_path / ".greenline/skills"
    for name in ("pipe", "folder", "none", "bytes"):
        (folder / name).mkdir(parents=True)
    os.mkfifo(folder / "pipe/SKILL.md")
    (folder / "folder/SKILL.md").mkdir()
    (folder / "bytes/SKILL.md").write_bytes(b"---\nname: \xff\n---\n")
    write(tmp_path, "long", skill_text("long", body="x" * LONGEST))
    with write(tmp_path, "huge", "").open("wb") as file:
        file.truncate(1 << 40)
    (folder / "README.md").write_text("about these")
    (folder / ".cache").mkdir()
    told = "\n".join(find_skills(tmp_path, NONE).warnings)
    assert told.count("left out") == 6
    for name, why in (("pipe", "no regular file"), ("folder", "no regular file"), ("none", "has no SKILL.md"), ("bytes", "is not UTF-8"), ("long", "longer than"), ("huge", "longer than")):  # fmt: skip
        assert f"skill '{name}'" in told
        assert why in told


def test_only_so_many_skills_count(tmp_path):
    for number in range(MOST + 5):
        write(tmp_path, f"s{number:04}")
    skills = find_skills(tmp_path, NONE)
    assert len([each for each in skills.found if each.source == "repository"]) == MOST
    assert f"the first {MOST} count" in skills.warnings[0]


# --- parameters

SPECS = {
    "what": {"description": "What to tidy.", "required": True},
    "times": {"type": "integer", "default": 2},
    "ratio": {"type": "number", "default": 0.5},
    "deep": {"type": "boolean", "default": False},
    "paths": {"type": "array", "default": []},
    "style": {"choices": ["short", "long"], "default": "short"},
    "extra": {},
}


@pytest.fixture
def tidy(tmp_path):
    body = "{{what}} {{ times }} {{ ratio }} {{deep}} [{{paths}}] {{ style }} <{{ extra }}>"
    write(tmp_path, "tidy", skill_text(body=body, metadata=parameters(**SPECS)))
    return find_skills(tmp_path, NONE)


@pytest.mark.parametrize(
    ("given_values", "told"),
    [
        ({"what": "x"}, "x 2 0.5 false [] short <>"),
        ({"what": "y", "times": 3, "ratio": 1, "deep": True, "paths": ["a", "b"], "style": "long", "extra": "z"}, "y 3 1 true [a, b] long <z>"),
    ],
)  # fmt: skip
def test_values_and_defaults_stand_in_the_text(tidy, given_values, told):
    assert tidy.problems("tidy", given_values) == []
    assert tidy.render("tidy", given_values) == told


@pytest.mark.parametrize(
    ("given_values", "place", "named"),
    [
        ({}, "what", "is missing. What to tidy."),
        ({"what": None}, "what", "must be text, received nothing"),
        ({"what": "x", "times": 1.5}, "times", "must be a whole number"),
        ({"what": "x", "times": True}, "times", "must be a whole number"),
        ({"what": "x", "ratio": "1"}, "ratio", "must be a number"),
        ({"what": "x", "deep": 1}, "deep", "must be true or false"),
        ({"what": "x", "paths": "a"}, "paths", "must be a list"),
        ({"what": "x", "paths": ["a", 1]}, "paths", "item 2 must be text"),
        (
            {"what": "x", "style": "medium"},
            "style",
            "must be one of short, long; received 'medium'",
        ),
        ({"what": "x", "stile": "long"}, "stile", "unknown parameter (did you mean 'style'?)"),
    ],
)
def test_wrong_values_are_named_before_and_never_filled_in(tidy, given_values, place, named):
    ((where, message),) = tidy.problems("tidy", given_values)
    assert where == ("parameters", place)
    assert named in message
    with pytest.raises(SkillError, match="skill 'tidy'"):
        tidy.render("tidy", given_values)


def test_placeholders_that_are_not_the_skills_stay_as_they_are(tmp_path):
    body = "${{ what }} {{ other }} {% raw %} {{ what.__class__ }} {{ what }}"
    write(tmp_path, "tidy", skill_text(body=body, metadata=parameters(what={"default": "x"})))
    told = find_skills(tmp_path, NONE).render("tidy", {})
    assert told == "${{ what }} {{ other }} {% raw %} {{ what.__class__ }} x"


def test_values_that_the_text_does_not_mention_are_listed(tmp_path):
    write(tmp_path, "tidy", skill_text(body="Tidy.", metadata=parameters(what={}, deep={"type": "boolean"})))  # fmt: skip
    skills = find_skills(tmp_path, NONE)
    assert skills.render("tidy", {"deep": True}) == "Tidy.\n\nParameters:\n\n- deep: true"
    assert skills.render("tidy", {}) == "Tidy."


@given(st.text(alphabet=string.printable[:-3] + "{}$ä", max_size=80), st.text(alphabet="{} what$x", max_size=30))  # fmt: skip
def test_a_value_is_never_looked_into_again(tmp_path_factory, body, value):
    """What a value holds is told as it is: it cannot ask for another parameter."""
    root = tmp_path_factory.mktemp("skills")
    text = skill_text(body=body + "\n{{ what }}!", metadata=parameters(what={}))
    write(root, "tidy", text)
    told = find_skills(root, NONE).render("tidy", {"what": value})
    assert told.endswith((value + "!").lstrip("\n") if not body.strip("\n\r") else value + "!")


def test_what_cannot_be_told_in_a_prompt_is_told_as_an_escape(tidy):
    """A value from a JSON plan may be half of a character; no prompt can hold it."""
    assert tidy.render("tidy", {"what": "\ud800\0"}).startswith("\\ud800\ufffd 2")


def test_a_skill_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write(tmp_path, "broken", "x")
    skills = find_skills(tmp_path, NONE)
    with pytest.raises(
        SkillError, match=r"did you mean 'characterise'\?.*characterise, hello-world"
    ):
        skills.get("characterize")
    with pytest.raises(SkillError, match=r"SKILL\.md cannot be used: line 1: must begin"):
        skills.get("broken")
