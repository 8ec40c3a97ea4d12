-- The execution of a plan: runs, workstreams, stages, attempts, errors, events.

CREATE TYPE run_status AS ENUM (
    'pending', 'running', 'completed', 'failed', 'partial', 'abandoned'
);
CREATE TYPE workstream_status AS ENUM (
    'pending', 'ready', 'editing', 'static_check', 'fixing', 'runtime_check', 'done', 'failed',
    'blocked', 'abandoned'
);
CREATE TYPE attempt_status AS ENUM ('in_progress', 'success', 'failure', 'skipped');
CREATE TYPE work_stage AS ENUM (
    'pending', 'analysis', 'unit_testing', 'unit_implementation', 'integration_testing',
    'integration_implementation', 'review', 'completed'
);

-- The lease says which process carries the run, and until when unless it is renewed.
CREATE TABLE runs (
    run_id text PRIMARY KEY,
    feature_id integer REFERENCES features ON DELETE CASCADE,
    status run_status DEFAULT 'pending' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    metadata_json jsonb,
    lease_owner text,
    lease_expires_at timestamptz
);
CREATE INDEX idx_runs_feature_id ON runs (feature_id);
CREATE INDEX idx_runs_status ON runs (status);

-- ws_id is '<run_id>/<subtask key>'.
CREATE TABLE workstreams (
    ws_id text PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    subtask_id integer REFERENCES subtasks ON DELETE CASCADE,
    status workstream_status DEFAULT 'pending' NOT NULL,
    depends_on jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    metadata_json jsonb
);
CREATE INDEX idx_workstreams_run_id_status ON workstreams (run_id, status);
CREATE INDEX idx_workstreams_subtask_id ON workstreams (subtask_id);

-- A row for each stage that a workstream, or a feature as a whole (no ws_id), enters.
CREATE TABLE work_stages (
    id serial PRIMARY KEY,
    feature_id integer REFERENCES features ON DELETE CASCADE,
    task_id integer REFERENCES tasks ON DELETE CASCADE,
    ws_id text REFERENCES workstreams ON DELETE CASCADE,
    work_stage work_stage NOT NULL,
    started_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz,
    assigned_agent text,
    CONSTRAINT work_stages_one_owner_check CHECK (num_nonnulls(feature_id, task_id) = 1)
);
CREATE INDEX idx_work_stages_feature_id ON work_stages (feature_id, id);
CREATE INDEX idx_work_stages_task_id ON work_stages (task_id, id);
CREATE INDEX idx_work_stages_ws_id ON work_stages (ws_id, id);

-- number is what people type; attempt_no counts within a step of a run. active goes false on rollback.
-- fingerprint: equal ones on one commit need no new work.
CREATE TABLE step_attempts (
    id serial PRIMARY KEY,
    project_id integer REFERENCES projects ON DELETE CASCADE,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    ws_id text NOT NULL REFERENCES workstreams ON DELETE CASCADE,
    step_id integer REFERENCES steps ON DELETE CASCADE,
    step_name text NOT NULL,
    status attempt_status DEFAULT 'in_progress' NOT NULL,
    started_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz,
    result_json jsonb,
    number integer,
    active boolean DEFAULT true NOT NULL,
    parent_attempt_id integer REFERENCES step_attempts ON DELETE SET NULL,
    commit_sha_before text,
    commit_sha_after text,
    agent_config jsonb,
    duration_ms integer,
    token_usage jsonb,
    exit_code integer,
    attempt_no integer DEFAULT 1 NOT NULL,
    failure_class text,
    intervened boolean DEFAULT false NOT NULL,
    fingerprint text,
    CONSTRAINT step_attempts_attempt_no_check CHECK (attempt_no > 0),
    CONSTRAINT step_attempts_number_of_project_check CHECK (num_nonnulls(project_id, number) <> 1),
    UNIQUE (project_id, number),
    UNIQUE (run_id, step_id, attempt_no)
);
CREATE INDEX idx_step_attempts_fingerprint ON step_attempts (fingerprint);
CREATE INDEX idx_step_attempts_parent_attempt_id ON step_attempts (parent_attempt_id);
CREATE INDEX idx_step_attempts_run_id_number ON step_attempts (run_id, number);
CREATE INDEX idx_step_attempts_run_id_ws_id_step_name ON step_attempts (run_id, ws_id, step_name);
CREATE INDEX idx_step_attempts_step_id ON step_attempts (step_id);
CREATE INDEX idx_step_attempts_ws_id ON step_attempts (ws_id);

-- A repeat of a signature counts up, so NULLs are values like any other here (PostgreSQL 15).
CREATE TABLE errors (
    id serial PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    ws_id text REFERENCES workstreams ON DELETE CASCADE,
    step_name text,
    error_code text NOT NULL,
    signature text NOT NULL,
    message text NOT NULL,
    context_json jsonb,
    count integer DEFAULT 1 NOT NULL,
    first_seen_at timestamptz DEFAULT now() NOT NULL,
    last_seen_at timestamptz DEFAULT now() NOT NULL,
    UNIQUE NULLS NOT DISTINCT (run_id, ws_id, step_name, signature)
);
CREATE INDEX idx_errors_run_id_ws_id_signature ON errors (run_id, ws_id, signature);
CREATE INDEX idx_errors_ws_id ON errors (ws_id);

-- No foreign keys: events outlive what they tell of, and a refused transition is recorded from
-- outside of the transaction that may just be creating its run.
CREATE TABLE events (
    id bigserial PRIMARY KEY,
    timestamp timestamptz DEFAULT now() NOT NULL,
    run_id text,
    ws_id text,
    event_type text NOT NULL,
    payload_json jsonb
);
CREATE INDEX idx_events_run_id_ws_id_event_type ON events (run_id, ws_id, event_type);
CREATE INDEX idx_events_timestamp ON events (timestamp);
