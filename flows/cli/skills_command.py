"""The command that lists skills, or shows one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import note, print_json, print_table, say
from flows.cli.run_commands import Json

if TYPE_CHECKING:
    from tasks.skills.collection import Found


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command("skills")(skills)


def skills(
    name: Annotated[
        str | None, typer.Argument(help="The skill to show in full.", show_default="list them")
    ] = None,
    *,
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="The repository whose skills count.", show_default="here"),
    ] = None,
    json_output: Json = False,
) -> None:
    """List the skills that a plan's steps can name, or show one.

    They lie in GREENLINE_HOME/skills, in the repository's .greenline/skills, and with Greenline; of
    a name the first of these counts. The files are read as they are on disk; a run reads the
    repository's from the commit that it starts from.
    """
    from storage.home import Home  # noqa: PLC0415
    from tasks.skills import find_skills  # noqa: PLC0415

    reach = find_skills(_checkout(repo), Home.current().path)
    if name is not None:
        found = reach.look_up(name)
        if json_output:
            print_json(_document(found, whole=True))
        else:
            _show(found)
        return
    if json_output:
        print_json([_document(each) for each in reach.found])
        return
    print_table(
        ("name", "from", "valid", "description"),
        [
            (each.name, each.source, _validity(each), each.skill and each.skill.description)
            for each in reach.found
        ],
    )
    for line in reach.warnings:
        note(f"note: {line}")


def _checkout(repo: Path | None) -> Path | None:
    """Return the top of the checkout that is meant; None: this folder is in none."""
    from storage.exceptions import InputError  # noqa: PLC0415
    from tasks.repository import UserRepository  # noqa: PLC0415

    try:
        repository = UserRepository.open(repo or Path())
    except InputError:
        if repo is not None:
            raise
        return None
    return None if repository.is_bare else repository.path


def _validity(found: Found) -> str:
    if found.skill is None:
        return "no"
    return "hidden" if found.hidden else "yes"


def _document(found: Found, *, whole: bool = False) -> dict[str, Any]:
    skill = found.skill
    document: dict[str, Any] = {
        "name": found.name,
        "description": skill and skill.description,
        "source": found.source,
        "path": found.where,
        "valid": skill is not None,
        "hidden": found.hidden,
        "problem": found.problem,
    }
    if not whole or skill is None:
        return document
    return document | {
        "license": skill.license,
        "compatibility": skill.compatibility,
        "allowed_tools": list(skill.allowed_tools),
        "parameters": {
            key: spec.model_dump(mode="json", exclude_unset=True)
            for key, spec in skill.parameters.items()
        },
        "metadata": dict(skill.metadata),
        "ignored_keys": list(skill.ignored),
        "sha256": skill.sha256,
        "text": skill.body,
    }


def _show(found: Found) -> None:
    skill = found.skill
    if skill is None:
        return
    say(f"{skill.name}: {skill.description}\n{found.source}: {found.where}")
    told = {
        "license": skill.license,
        "compatibility": skill.compatibility,
        "allowed-tools": " ".join(skill.allowed_tools),
        "without meaning here": ", ".join(skill.ignored),
    }
    for key, value in told.items():
        if value:
            say(f"{key}: {value}")
    for key, spec in skill.parameters.items():
        given = "required" if spec.required else f"default: {spec.default!r}"
        choices = f", one of {', '.join(map(str, spec.choices))}" if spec.choices else ""
        say(f"parameter {key} ({spec.type}, {given}{choices}): {spec.description}".rstrip(" :"))
    say(f"\n{skill.body}")
