"""All tables of the ledger, as SQLAlchemy models and as the tables that statements are made of.

Statements use the tables (`runs.c.status`), not mapped objects: a change of state is one
`UPDATE … WHERE`, nothing is loaded lazily, and what leaves a transaction is a plain dictionary.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table

from storage.agent_models import (
    AgentInvocation,
    AgentStep,
    CtaEvent,
    FeatureRun,
    MemoryRecord,
    PhaseResult,
    Sandbox,
    SandboxSnapshot,
    ToolCall,
)
from storage.models_base import AGENT, Base
from storage.models_evidence import (
    CaseResult,
    Commit,
    Delivery,
    FileLock,
    LegalTransition,
    Rollback,
    SchemaMeta,
    ToolResult,
    Verification,
)
from storage.models_execution import Error, Event, Run, StepAttempt, WorkStageEntry, Workstream
from storage.models_plan import Feature, Project, Step, Subtask, Task

__all__ = [
    "AGENT",
    "AgentInvocation",
    "AgentStep",
    "Base",
    "CaseResult",
    "Commit",
    "CtaEvent",
    "Delivery",
    "Error",
    "Event",
    "Feature",
    "FeatureRun",
    "FileLock",
    "LegalTransition",
    "MemoryRecord",
    "PhaseResult",
    "Project",
    "Rollback",
    "Run",
    "Sandbox",
    "SandboxSnapshot",
    "SchemaMeta",
    "Step",
    "StepAttempt",
    "Subtask",
    "Task",
    "ToolCall",
    "ToolResult",
    "Verification",
    "WorkStageEntry",
    "Workstream",
]


def _table(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


projects = _table(Project)
features = _table(Feature)
tasks = _table(Task)
subtasks = _table(Subtask)
steps = _table(Step)
runs = _table(Run)
workstreams = _table(Workstream)
work_stages = _table(WorkStageEntry)
step_attempts = _table(StepAttempt)
errors = _table(Error)
events = _table(Event)
verifications = _table(Verification)
test_results = _table(CaseResult)
deliveries = _table(Delivery)
sandboxes = _table(Sandbox)
sandbox_snapshots = _table(SandboxSnapshot)
feature_runs = _table(FeatureRun)
phase_results = _table(PhaseResult)
agent_invocations = _table(AgentInvocation)
agent_steps = _table(AgentStep)
tool_calls = _table(ToolCall)
commits = _table(Commit)
file_locks = _table(FileLock)
rollbacks = _table(Rollback)
cta_events = _table(CtaEvent)
