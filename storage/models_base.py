"""What every table of the ledger is made of: the base class, column types and enum types."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

from storage import states

if TYPE_CHECKING:
    from storage.states import Choice

AGENT = "agent"
"""The schema of what the agents did; everything else lies in `public`."""

# PostgreSQL's own names for unnamed constraints, so that hand-written SQL and models agree.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}


class Base(DeclarativeBase):
    """The base of all tables. Rows are read and written through SQL, never by lazy loading."""

    metadata = MetaData(naming_convention=NAMES)


def pg_enum(choice: type[Choice], name: str, schema: str | None = None) -> Enum:
    """Return the database enum of a `Choice`; values go in and come out as plain strings."""
    return Enum(*choice.values(), name=name, schema=schema, metadata=Base.metadata)


STEP_TYPE = pg_enum(states.StepType, "step_type")
STATUS = pg_enum(states.StepStatus, "status")
ASSIGNED_TO = pg_enum(states.AssignedTo, "assigned_to")
WORK_STAGE = pg_enum(states.WorkStage, "work_stage")
RUN_STATUS = pg_enum(states.RunStatus, "run_status")
WORKSTREAM_STATUS = pg_enum(states.WorkstreamStatus, "workstream_status")
ATTEMPT_STATUS = pg_enum(states.AttemptStatus, "attempt_status")

SANDBOX_STATUS = pg_enum(states.SandboxStatus, "sandbox_status", AGENT)
SANDBOX_SOURCE_TYPE = pg_enum(states.SandboxSourceType, "sandbox_source_type", AGENT)
SNAPSHOT_STATUS = pg_enum(states.SnapshotStatus, "snapshot_status", AGENT)
FEATURE_PHASE = pg_enum(states.FeaturePhase, "feature_phase", AGENT)
PHASE_STATUS = pg_enum(states.PhaseStatus, "phase_status", AGENT)
AGENT_TYPE = pg_enum(states.AgentType, "agent_type", AGENT)
FINISH_REASON = pg_enum(states.FinishReason, "finish_reason", AGENT)
TOOL_OUTPUT_TYPE = pg_enum(states.ToolOutputType, "tool_output_type", AGENT)
MEMORY_KIND = pg_enum(states.MemoryKind, "memory_kind", AGENT)
CTA_KIND = pg_enum(states.CtaKind, "cta_kind", AGENT)

# Column types. An `X | None` annotation makes a column nullable: NULL means "not measured" or
# "not there", never zero.
Str = Annotated[str, mapped_column(Text)]
Empty = Annotated[str, mapped_column(Text, server_default=text("''"))]
Json = Annotated[Any, mapped_column(JSONB(none_as_null=True))]
JsonList = Annotated[list[Any], mapped_column(JSONB, server_default=text("'[]'::jsonb"))]
Id = Annotated[int, mapped_column(primary_key=True)]
BigId = Annotated[int, mapped_column(BigInteger, primary_key=True)]
UuidKey = Annotated[
    str,
    mapped_column(Uuid(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")),
]
Time = Annotated[dt.datetime, mapped_column(DateTime(timezone=True))]
Now = Annotated[dt.datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
