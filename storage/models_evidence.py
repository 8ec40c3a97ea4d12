"""What Greenline observed and what it holds on to: test results, locks, caches, deliveries."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Sequence,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from storage.models_base import Base, BigId, Id, Json, JsonList, Now, Str, Time


class Verification(Base):
    """One execution of the project's test command. Counts are NULL when no report was readable."""

    __tablename__ = "verifications"
    __table_args__ = (
        # Who writes the same execution again (a retried task) does not double it.
        UniqueConstraint(
            "run_id",
            "attempt_id",
            "kind",
            "tree",
            "command_hash",
            "started_at",
            name="verifications_execution_key",
            postgresql_nulls_not_distinct=True,
        ),
        Index("idx_verifications_run_id_tree", "run_id", "tree", "command_hash"),
        Index("idx_verifications_attempt_id", "attempt_id"),
    )

    id: Mapped[Id]
    run_id: Mapped[Str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    attempt_id: Mapped[int | None] = mapped_column(
        ForeignKey("step_attempts.id", ondelete="CASCADE")
    )
    kind: Mapped[Str]  # baseline, focused, full, delivery …
    tree: Mapped[Str]  # the git tree that was tested
    commit_sha: Mapped[Str | None]
    command_hash: Mapped[Str]
    exit_code: Mapped[int | None]  # NULL: it was killed
    timed_out: Mapped[bool] = mapped_column(server_default=text("false"))
    started_at: Mapped[Now]
    duration_ms: Mapped[int | None]
    passed: Mapped[int | None]
    failed: Mapped[int | None]
    errored: Mapped[int | None]
    skipped: Mapped[int | None]
    load_errors: Mapped[int | None]
    report_state: Mapped[Str]  # complete, or what is wrong with the report
    created_at: Mapped[Now]


class CaseResult(Base):
    """The outcome of one test in one verification."""

    __tablename__ = "test_results"
    __table_args__ = (
        CheckConstraint(
            "outcome IN ('passed', 'failed', 'errored', 'skipped', 'load_error')", name="outcome"
        ),
        # No index on node_id: a parametrised test's id can be longer than an index entry may be.
        Index("idx_test_results_verification_id", "verification_id"),
    )

    id: Mapped[BigId]
    verification_id: Mapped[int] = mapped_column(ForeignKey("verifications.id", ondelete="CASCADE"))
    node_id: Mapped[Str]
    file_path: Mapped[Str | None]
    outcome: Mapped[Str]
    duration_ms: Mapped[int | None]
    message: Mapped[Str | None]


class FileLock(Base):
    """The right to work on a file, for as long as its lease holds."""

    __tablename__ = "file_locks"

    project_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    )
    file_path: Mapped[Str] = mapped_column(primary_key=True)
    holder: Mapped[Str]
    run_id: Mapped[Str | None] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    step_id: Mapped[int | None] = mapped_column(ForeignKey("steps.id", ondelete="CASCADE"))
    # Fencing: each acquisition gets a higher number than all before it, so that who lost a lease
    # without noticing can be told from who holds it.
    token: Mapped[int] = mapped_column(
        BigInteger, server_default=Sequence("file_lock_tokens", metadata=Base.metadata).next_value()
    )
    acquired_at: Mapped[Now]
    expires_at: Mapped[Time] = mapped_column(server_default=text("now() + interval '5 minutes'"))


class ToolResult(Base):
    """A cached result of a read-only tool."""

    __tablename__ = "tool_results"
    __table_args__ = (
        UniqueConstraint(
            "project_id", "tool_name", "action", "args_hash", postgresql_nulls_not_distinct=True
        ),
    )

    id: Mapped[BigId]
    tool_name: Mapped[Str]
    action: Mapped[Str | None]
    args_hash: Mapped[Str]  # of the canonical JSON of all nested keys
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    fingerprint: Mapped[Str]
    result: Mapped[Json]
    created_at: Mapped[Now]
    ttl_seconds: Mapped[int] = mapped_column(server_default=text("600"))


class Commit(Base):
    """A commit of an attempt with what it added, for hosts whose clone does not have it."""

    __tablename__ = "commits"
    __table_args__ = (Index("idx_commits_project_id", "project_id"),)

    sha: Mapped[Str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    parent: Mapped[Str]
    pack: Mapped[bytes]  # thin: what it builds on is in the parent
    created_at: Mapped[Now]


class Rollback(Base):
    """An intent to undo an attempt and all active ones after it, and whether git has done it."""

    __tablename__ = "rollbacks"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done')", name="state"),
        Index("idx_rollbacks_attempt_id", "attempt_id"),
    )

    id: Mapped[Id]
    run_id: Mapped[Str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    attempt_id: Mapped[int] = mapped_column(ForeignKey("step_attempts.id", ondelete="CASCADE"))
    commits: Mapped[JsonList]  # what is undone, newest first
    backup_ref: Mapped[Str | None]
    state: Mapped[Str] = mapped_column(server_default=text("'pending'"))
    who: Mapped[Str | None]
    why: Mapped[Str | None]
    created_at: Mapped[Now]
    completed_at: Mapped[Time | None]


class Delivery(Base):
    """A result that was handed over: as a branch, a merge or a pull request."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("run_id", "mode", "target_branch", "commit_sha"),
        CheckConstraint("mode IN ('branch', 'merge', 'pull-request')", name="mode"),
    )

    id: Mapped[Id]
    run_id: Mapped[Str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    mode: Mapped[Str]
    target_branch: Mapped[Str]
    commit_sha: Mapped[Str]
    delivered_at: Mapped[Now]
    accepted: Mapped[bool | None]  # NULL: not known yet
    reverted_at: Mapped[Time | None]
    lines_added: Mapped[int | None]
    lines_deleted: Mapped[int | None]


class SchemaMeta(Base):
    """Facts about the schema itself; `schema_version` is kept by the migrations."""

    __tablename__ = "schema_meta"

    key: Mapped[Str] = mapped_column(primary_key=True)
    value: Mapped[Str]


class LegalTransition(Base):
    """The moves of `storage.states.TRANSITIONS`, for the triggers that guard raw SQL.

    An empty `from_state` is the beginning: where the first stage of a workstream may be.
    """

    __tablename__ = "legal_transitions"

    entity: Mapped[Str] = mapped_column(primary_key=True)
    from_state: Mapped[Str] = mapped_column(primary_key=True)
    to_state: Mapped[Str] = mapped_column(primary_key=True)
