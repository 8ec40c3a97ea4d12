"""What must hold for a plan as a whole: unique keys, known dependencies, no cycle, a fixed order.

Works on what is readable of a plan that has other problems too, so that all are reported at once.
"""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.problems import Location, did_you_mean


@dataclass(frozen=True)
class Node:
    """A subtask as far as the structure goes; `location` is where the plan has it."""

    location: Location
    key: str
    depends_on: tuple[tuple[Location, str], ...]


def nodes_of(data: object) -> list[Node]:
    """Return the subtasks of a plan's plain data; what is not readable is left out."""
    nodes = []
    for location, subtask in _subtasks(data):
        key = subtask.get("key")
        if not isinstance(key, str):
            continue
        needed = subtask.get("depends_on")
        named = [
            ((*location, "depends_on", i), other)
            for i, other in enumerate(needed if isinstance(needed, list | tuple) else ())
            if isinstance(other, str)
        ]
        nodes.append(Node(location, key, tuple(named)))
    return nodes


def structure_problems(nodes: Sequence[Node]) -> list[tuple[Location, str]]:
    """Return what is wrong with the keys and dependencies of a plan's subtasks."""
    problems: list[tuple[Location, str]] = []
    first: dict[str, Node] = {}
    for node in nodes:
        if node.key in first:
            taken = f"the key '{node.key}' is taken by an earlier subtask: each needs its own"
            problems.append(((*node.location, "key"), taken))
        first.setdefault(node.key, node)
    for node in nodes:
        problems.extend(_dependency_problems(node, list(first)))
    known = {
        key: [name for _, name in node.depends_on if name in first and name != key]
        for key, node in first.items()
    }
    problems.extend(_cycle_problems(known, first))
    return problems


def dependency_order(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the keys so that each comes after those it depends on, else in their given order.

    Raises:
        graphlib.CycleError: there is no such order.
    """
    position = {key: index for index, key in enumerate(depends_on)}
    sorter = graphlib.TopologicalSorter(depends_on)
    sorter.prepare()
    ready: list[tuple[int, str]] = []
    ordered = []
    while sorter.is_active():
        for key in sorter.get_ready():
            heapq.heappush(ready, (position[key], key))
        _, key = heapq.heappop(ready)
        ordered.append(key)
        sorter.done(key)
    return ordered


def _subtasks(data: object) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    """Yield the location and the mapping of each subtask that is one."""
    tasks = data.get("tasks") if isinstance(data, Mapping) else None
    for i, task in enumerate(tasks if isinstance(tasks, list | tuple) else ()):
        subtasks = task.get("subtasks") if isinstance(task, Mapping) else None
        for j, subtask in enumerate(subtasks if isinstance(subtasks, list | tuple) else ()):
            if isinstance(subtask, Mapping):
                yield ("tasks", i, "subtasks", j), subtask


def _dependency_problems(node: Node, keys: list[str]) -> Iterator[tuple[Location, str]]:
    seen: set[str] = set()
    for place, name in node.depends_on:
        if name == node.key:
            yield place, f"subtask '{node.key}' depends on itself: leave it out"
        elif name not in keys:
            there = ", ".join(f"'{key}'" for key in keys if key != node.key) or "none"
            yield (
                place,
                (f"there is no subtask '{name}'{did_you_mean(name, keys)}; other keys: {there}"),
            )
        elif name in seen:
            yield place, f"'{name}' is named twice: keep one"
        seen.add(name)


def _cycle_problems(
    depends_on: dict[str, list[str]], nodes: Mapping[str, Node]
) -> Iterator[tuple[Location, str]]:
    """Name each cycle once, taking one link out to find the next."""
    while True:
        try:
            graphlib.TopologicalSorter(depends_on).prepare()
        except graphlib.CycleError as error:
            # graphlib lists a cycle in the order of execution: each is needed by the next.
            cycle = list(reversed(error.args[1]))
            start = min(range(len(cycle) - 1), key=lambda i: list(depends_on).index(cycle[i]))
            cycle = [*cycle[start:-1], *cycle[: start + 1]]
            needing, needed = cycle[0], cycle[1]
            place = next(p for p, name in nodes[needing].depends_on if name == needed)
            chain = " -> ".join(cycle)
            yield place, f"a cycle of dependencies: {chain}; take one of these out"
            depends_on[needing] = [name for name in depends_on[needing] if name != needed]
        else:
            return
