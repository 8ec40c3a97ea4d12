"""Write plans: files to create, append to or overwrite, told as data and done whole or not at all.

The model and its reading are in `tasks.write_plan.model`, what a plan comes to in a folder in
`tasks.write_plan.outcome`, the writing in `tasks.write_plan.writing`, and what is put back of one
that was cut off in `tasks.write_plan.journal`.
"""

from __future__ import annotations

from tasks.write_plan.execution import execute
from tasks.write_plan.model import (
    Code,
    Operation,
    WritePlan,
    WritePlanError,
    load_write_plan,
    parse_write_plan,
    write_plan_json_schema_text,
)
from tasks.write_plan.report import OperationReport, Report

__all__ = [
    "Code",
    "Operation",
    "OperationReport",
    "Report",
    "WritePlan",
    "WritePlanError",
    "execute",
    "load_write_plan",
    "parse_write_plan",
    "write_plan_json_schema_text",
]
