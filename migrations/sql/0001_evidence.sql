-- What Greenline observed and what it holds on to: test results, locks, caches, deliveries.

-- One execution of the test command. Counts are NULL when no report could be read.
CREATE TABLE verifications (
    id serial PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt_id integer REFERENCES step_attempts ON DELETE CASCADE,
    kind text NOT NULL,
    tree text NOT NULL,
    commit_sha text,
    command_hash text NOT NULL,
    exit_code integer,
    timed_out boolean DEFAULT false NOT NULL,
    started_at timestamptz DEFAULT now() NOT NULL,
    duration_ms integer,
    passed integer,
    failed integer,
    errored integer,
    skipped integer,
    load_errors integer,
    report_state text NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT verifications_execution_key
        UNIQUE NULLS NOT DISTINCT (run_id, attempt_id, kind, tree, command_hash, started_at)
);
CREATE INDEX idx_verifications_attempt_id ON verifications (attempt_id);
CREATE INDEX idx_verifications_run_id_tree ON verifications (run_id, tree, command_hash);

-- No index on node_id: a parametrised test's id can be longer than an index entry may be.
CREATE TABLE test_results (
    id bigserial PRIMARY KEY,
    verification_id integer NOT NULL REFERENCES verifications ON DELETE CASCADE,
    node_id text NOT NULL,
    file_path text,
    outcome text NOT NULL,
    duration_ms integer,
    message text,
    CONSTRAINT test_results_outcome_check
        CHECK (outcome IN ('passed', 'failed', 'errored', 'skipped', 'load_error'))
);
CREATE INDEX idx_test_results_verification_id ON test_results (verification_id);

-- token: fencing. Each acquisition gets a higher one than all before it.
CREATE SEQUENCE file_lock_tokens;
CREATE TABLE file_locks (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    file_path text NOT NULL,
    holder text NOT NULL,
    run_id text REFERENCES runs ON DELETE CASCADE,
    step_id integer REFERENCES steps ON DELETE CASCADE,
    token bigint DEFAULT nextval('file_lock_tokens') NOT NULL,
    acquired_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz DEFAULT now() + interval '5 minutes' NOT NULL,
    PRIMARY KEY (project_id, file_path)
);

CREATE TABLE tool_results (
    id bigserial PRIMARY KEY,
    tool_name text NOT NULL,
    action text,
    args_hash text NOT NULL,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    fingerprint text NOT NULL,
    result jsonb NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    ttl_seconds integer DEFAULT 600 NOT NULL,
    UNIQUE NULLS NOT DISTINCT (project_id, tool_name, action, args_hash)
);

CREATE TABLE rollbacks (
    id serial PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt_id integer NOT NULL REFERENCES step_attempts ON DELETE CASCADE,
    commits jsonb DEFAULT '[]'::jsonb NOT NULL,
    backup_ref text,
    state text DEFAULT 'pending' NOT NULL,
    who text,
    why text,
    created_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz,
    CONSTRAINT rollbacks_state_check CHECK (state IN ('pending', 'done'))
);
CREATE INDEX idx_rollbacks_attempt_id ON rollbacks (attempt_id);

CREATE TABLE deliveries (
    id serial PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    mode text NOT NULL,
    target_branch text NOT NULL,
    commit_sha text NOT NULL,
    delivered_at timestamptz DEFAULT now() NOT NULL,
    accepted boolean,
    reverted_at timestamptz,
    lines_added integer,
    lines_deleted integer,
    CONSTRAINT deliveries_mode_check CHECK (mode IN ('branch', 'merge', 'pull-request')),
    UNIQUE (run_id, mode, target_branch, commit_sha)
);

-- schema_version is kept by migrations/env.py.
CREATE TABLE schema_meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- A copy of storage.states.TRANSITIONS; an empty from_state is the beginning.
CREATE TABLE legal_transitions (
    entity text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (entity, from_state, to_state)
);
