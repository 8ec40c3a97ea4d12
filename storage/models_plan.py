"""The plan: project, feature, task, subtask, step. Each run of a plan has a tree of its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.models_base import (
    ASSIGNED_TO,
    STATUS,
    STEP_TYPE,
    Base,
    Empty,
    Id,
    Json,
    JsonList,
    Now,
    Str,
    Time,
)

PENDING = text("'pending'")


class Project(Base):
    """One git repository that Greenline works on."""

    __tablename__ = "projects"

    id: Mapped[Id]
    name: Mapped[Str] = mapped_column(unique=True)
    repo_path: Mapped[Str] = mapped_column(unique=True)
    default_branch: Mapped[Str] = mapped_column(server_default=text("'main'"))
    # The number of the project's latest attempt: numbers are given out under this row's lock, so
    # that they have no holes but those of rolled back transactions, and are never used twice.
    last_attempt_number: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class Feature(Base):
    """What a feature plan describes."""

    __tablename__ = "features"
    __table_args__ = (Index("idx_features_project_id", "project_id"),)

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    title: Mapped[Str]
    description: Mapped[Empty]
    status: Mapped[str] = mapped_column(STATUS, server_default=PENDING)
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class Task(Base):
    """A part of a feature."""

    __tablename__ = "tasks"
    __table_args__ = (Index("idx_tasks_feature_id", "feature_id"),)

    id: Mapped[Id]
    feature_id: Mapped[int] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"))
    title: Mapped[Str]
    description: Mapped[Empty]
    status: Mapped[str] = mapped_column(STATUS, server_default=PENDING)
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class Subtask(Base):
    """A part of a task that at most a few steps do; a workstream carries it in a run."""

    __tablename__ = "subtasks"
    __table_args__ = (UniqueConstraint("task_id", "key"),)

    id: Mapped[Id]
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    key: Mapped[Str]
    title: Mapped[Str]
    description: Mapped[Empty]
    acceptance_criteria: Mapped[JsonList]
    depends_on: Mapped[JsonList]
    status: Mapped[str] = mapped_column(STATUS, server_default=PENDING)
    completed_at: Mapped[Time | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class Step(Base):
    """An edit of exactly one file."""

    __tablename__ = "steps"
    __table_args__ = (
        UniqueConstraint("subtask_id", "step_number"),
        CheckConstraint("step_number > 0", name="step_number"),
        CheckConstraint("jsonb_typeof(context_files) = 'array'", name="context_files"),
        Index("idx_steps_subtask_id", "subtask_id"),
        Index("idx_steps_project_id", "project_id"),
        Index("idx_steps_status", "status"),
        Index("idx_steps_parent_step_id", "parent_step_id"),
        Index("idx_steps_created_at", "created_at"),
        {"comment": "Tracks individual workflow steps within subtasks"},
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    subtask_id: Mapped[int] = mapped_column(ForeignKey("subtasks.id", ondelete="CASCADE"))
    step_number: Mapped[int]
    step_type: Mapped[str] = mapped_column(STEP_TYPE)
    file_path: Mapped[Str | None]
    instructions: Mapped[Str | None]
    status: Mapped[str] = mapped_column(STATUS, server_default=PENDING)
    assigned_to: Mapped[str] = mapped_column(ASSIGNED_TO)
    # File hashes and mtimes, no content. JSON, not JSONB: it is kept as it was written.
    context_snapshot: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    context_files: Mapped[Json | None]
    attempt_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[Str | None]
    parent_step_id: Mapped[int | None] = mapped_column(ForeignKey("steps.id", ondelete="SET NULL"))
    created_at: Mapped[Now]
    updated_at: Mapped[Now]
