"""What became of a write plan, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tasks.write_plan.model import Code, Operation, WritePlan

State = Literal["written", "possible", "failed", "put back", "not done"]


@dataclass(frozen=True)
class OperationReport:
    """What became of one operation.

    Attributes:
        operation: create, append or overwrite.
        path: its file.
        status: `written`; `possible` (nothing was to be written); `failed`; `put back` (it was
            written, and undone because of another one); `not done` (because of another one).
        size: how many bytes the file has afterwards, or would have; None if it failed.
        code: what kind of thing was wrong, where it failed.
        message: what was wrong, what was found and what would work.
    """

    operation: str
    path: str
    status: State
    size: int | None = None
    code: Code | None = None
    message: str | None = None


@dataclass(frozen=True)
class Report:
    """What became of a write plan: all of it was written, or nothing was.

    Attributes:
        status: `written`, `possible` (nothing was to be written) or `failed`.
        operations: what became of each, in the order of the plan.
        folders: the folders that were made, or would be.
        notes: what else a person should know, such as what an earlier plan had left.
    """

    status: Literal["written", "possible", "failed"]
    operations: tuple[OperationReport, ...]
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all was written, or could be."""
        return self.status != "failed"

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong, a sentence each."""
        return tuple(
            f"{each.code}: {each.operation} {each.path}: {each.message}"
            for each in self.operations
            if each.code is not None
        )

    def document(self) -> dict[str, Any]:
        """Return the report as the JSON document that programs hold on to."""
        return {
            "status": self.status,
            "operations": [
                {
                    "operation": each.operation,
                    "path": each.path,
                    "status": each.status,
                    "bytes": each.size,
                    "code": each.code and each.code.value,
                    "message": each.message,
                }
                for each in self.operations
            ],
            "folders": list(self.folders),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Finding:
    """What is wrong with one operation, by its place in the plan."""

    index: int
    code: Code
    message: str


def all_well(
    plan: WritePlan,
    sizes: Sequence[int],
    folders: Sequence[str],
    notes: Sequence[str],
    *,
    dry_run: bool,
) -> Report:
    """Return the report of a plan that was carried out, or could be."""
    status: Literal["written", "possible"] = "possible" if dry_run else "written"
    done = (
        OperationReport(each.operation, each.path, status, size)
        for each, size in zip(plan.operations, sizes, strict=True)
    )
    return Report(status, tuple(done), tuple(folders), tuple(notes))


def failure(
    plan: WritePlan,
    findings: Sequence[Finding],
    notes: Sequence[str] = (),
    put_back: Sequence[str] = (),
) -> Report:
    """Return the report of a plan of which nothing is written.

    Args:
        plan: the plan.
        findings: what was wrong.
        notes: what else a person should know.
        put_back: the files that had been written already, and are as they were again.
    """
    reports = [_not_done(each, put_back) for each in plan.operations]
    for found in findings:
        reports[found.index] = replace(
            reports[found.index], status="failed", code=found.code, message=found.message
        )
    return Report("failed", tuple(reports), notes=tuple(notes))


def _not_done(operation: Operation, put_back: Sequence[str]) -> OperationReport:
    status: State = "put back" if operation.path in put_back else "not done"
    return OperationReport(operation.operation, operation.path, status)
