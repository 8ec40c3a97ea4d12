-- What the agents did. run_id refers to feature_runs in this schema.

CREATE SCHEMA agent;

CREATE TYPE agent.sandbox_status AS ENUM (
    'pending', 'running', 'stopping', 'stopped', 'failed', 'aborted', 'snapshotting'
);
CREATE TYPE agent.sandbox_source_type AS ENUM ('git', 'tarball', 'snapshot', 'empty');
CREATE TYPE agent.snapshot_status AS ENUM ('created', 'deleted', 'failed');
CREATE TYPE agent.feature_phase AS ENUM (
    'analysis', 'approaches', 'judging', 'implementation', 'pr', 'completed', 'failed'
);
CREATE TYPE agent.phase_status AS ENUM ('running', 'passed', 'failed');
CREATE TYPE agent.agent_type AS ENUM ('orchestrator', 'explorer', 'coder', 'judge', 'meta_judge');
CREATE TYPE agent.finish_reason AS ENUM (
    'stop', 'length', 'content-filter', 'tool-calls', 'error', 'other'
);
CREATE TYPE agent.tool_output_type AS ENUM (
    'text', 'json', 'execution-denied', 'error-text', 'error-json', 'content'
);
CREATE TYPE agent.memory_kind AS ENUM ('insight', 'failure', 'decision', 'constraint');
CREATE TYPE agent.cta_kind AS ENUM ('approval', 'text', 'choice');

-- id is the same UUID as the run's. The reference to sandboxes follows below: the two refer to
-- each other.
CREATE TABLE agent.feature_runs (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE UNIQUE,
    prompt text NOT NULL,
    sandbox_id uuid,
    github_repo_url text,
    github_branch text,
    current_phase agent.feature_phase DEFAULT 'analysis' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz,
    CONSTRAINT feature_runs_same_uuid_check CHECK (id::text = run_id)
);
CREATE INDEX idx_feature_runs_current_phase ON agent.feature_runs (current_phase);

-- memory is MiB, timeout and duration are milliseconds.
CREATE TABLE agent.sandboxes (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES agent.feature_runs ON DELETE CASCADE,
    status agent.sandbox_status DEFAULT 'pending' NOT NULL,
    runtime text,
    memory integer,
    vcpus integer,
    region text,
    cwd text,
    timeout integer,
    network_policy jsonb,
    source_snapshot_id uuid,
    source_type agent.sandbox_source_type NOT NULL,
    source_url text,
    source_revision text,
    source_depth integer,
    requested_at timestamptz DEFAULT now() NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    started_at timestamptz,
    requested_stop_at timestamptz,
    stopped_at timestamptz,
    aborted_at timestamptz,
    snapshotted_at timestamptz,
    duration integer
);
CREATE INDEX idx_sandboxes_run_id ON agent.sandboxes (run_id);

CREATE TABLE agent.sandbox_snapshots (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    sandbox_id uuid NOT NULL REFERENCES agent.sandboxes ON DELETE CASCADE,
    run_id uuid NOT NULL REFERENCES agent.feature_runs ON DELETE CASCADE,
    status agent.snapshot_status DEFAULT 'created' NOT NULL,
    size_bytes bigint,
    region text,
    expires_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX idx_sandbox_snapshots_run_id ON agent.sandbox_snapshots (run_id);
CREATE INDEX idx_sandbox_snapshots_sandbox_id ON agent.sandbox_snapshots (sandbox_id);

ALTER TABLE agent.feature_runs
    ADD FOREIGN KEY (sandbox_id) REFERENCES agent.sandboxes ON DELETE SET NULL;
ALTER TABLE agent.sandboxes
    ADD FOREIGN KEY (source_snapshot_id) REFERENCES agent.sandbox_snapshots ON DELETE SET NULL;

CREATE TABLE agent.phase_results (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES agent.feature_runs ON DELETE CASCADE,
    phase agent.feature_phase NOT NULL,
    status agent.phase_status DEFAULT 'running' NOT NULL,
    output jsonb,
    started_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz
);
CREATE INDEX idx_phase_results_run_id_phase ON agent.phase_results (run_id, phase);

-- Costs are USD; NULL means that it was not measured.
CREATE TABLE agent.agent_invocations (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    phase_result_id uuid NOT NULL REFERENCES agent.phase_results ON DELETE CASCADE,
    parent_invocation_id uuid REFERENCES agent.agent_invocations ON DELETE SET NULL,
    attempt_id integer REFERENCES step_attempts ON DELETE CASCADE,
    agent_type agent.agent_type NOT NULL,
    step_count integer,
    cost_reported numeric(18, 8),
    cost_computed numeric(18, 8),
    price_version text,
    started_at timestamptz DEFAULT now() NOT NULL,
    completed_at timestamptz,
    model_provider text,
    model_id text,
    system_prompt text,
    input_messages jsonb,
    finish_reason agent.finish_reason,
    raw_finish_reason text,
    output_text text,
    output_reasoning_text text,
    output_content jsonb,
    response_id text,
    response_model_id text,
    warnings jsonb,
    provider_metadata jsonb,
    input_tokens integer,
    output_tokens integer,
    total_tokens integer,
    input_tokens_no_cache integer,
    input_tokens_cache_read integer,
    input_tokens_cache_write integer,
    output_tokens_text integer,
    output_tokens_reasoning integer,
    usage_raw jsonb
);
CREATE INDEX idx_agent_invocations_attempt_id ON agent.agent_invocations (attempt_id);
CREATE INDEX idx_agent_invocations_parent_invocation_id
    ON agent.agent_invocations (parent_invocation_id);
CREATE INDEX idx_agent_invocations_phase_result_id_agent_type
    ON agent.agent_invocations (phase_result_id, agent_type);

CREATE TABLE agent.agent_steps (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    invocation_id uuid NOT NULL REFERENCES agent.agent_invocations ON DELETE CASCADE,
    step_number integer NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    model_provider text,
    model_id text,
    system_prompt text,
    input_messages jsonb,
    finish_reason agent.finish_reason,
    raw_finish_reason text,
    output_text text,
    output_reasoning_text text,
    output_content jsonb,
    response_id text,
    response_model_id text,
    warnings jsonb,
    provider_metadata jsonb,
    input_tokens integer,
    output_tokens integer,
    total_tokens integer,
    input_tokens_no_cache integer,
    input_tokens_cache_read integer,
    input_tokens_cache_write integer,
    output_tokens_text integer,
    output_tokens_reasoning integer,
    usage_raw jsonb,
    CONSTRAINT agent_steps_step_number_check CHECK (step_number >= 0)
);
CREATE UNIQUE INDEX idx_agent_steps_invocation_id_step_number
    ON agent.agent_steps (invocation_id, step_number);

CREATE TABLE agent.tool_calls (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    step_id uuid REFERENCES agent.agent_steps ON DELETE CASCADE,
    invocation_id uuid NOT NULL REFERENCES agent.agent_invocations ON DELETE CASCADE,
    tool_call_id text NOT NULL,
    tool_name text NOT NULL,
    input jsonb,
    output jsonb,
    output_type agent.tool_output_type,
    is_dynamic boolean DEFAULT false NOT NULL,
    is_invalid boolean DEFAULT false NOT NULL,
    error jsonb,
    is_preliminary boolean DEFAULT false NOT NULL,
    is_provider_executed boolean DEFAULT false NOT NULL,
    title text,
    provider_metadata jsonb,
    created_at timestamptz DEFAULT now() NOT NULL,
    UNIQUE (invocation_id, tool_call_id)
);
CREATE INDEX idx_tool_calls_invocation_id ON agent.tool_calls (invocation_id);
CREATE INDEX idx_tool_calls_step_id ON agent.tool_calls (step_id);

CREATE TABLE agent.memory_records (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES agent.feature_runs ON DELETE CASCADE,
    phase_result_id uuid REFERENCES agent.phase_results ON DELETE CASCADE,
    invocation_id uuid REFERENCES agent.agent_invocations ON DELETE SET NULL,
    phase agent.feature_phase NOT NULL,
    kind agent.memory_kind NOT NULL,
    content text NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX idx_memory_records_invocation_id ON agent.memory_records (invocation_id);
CREATE INDEX idx_memory_records_phase_result_id ON agent.memory_records (phase_result_id);
CREATE INDEX idx_memory_records_run_id_phase ON agent.memory_records (run_id, phase);

CREATE TABLE agent.cta_events (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES agent.feature_runs ON DELETE CASCADE,
    phase_result_id uuid REFERENCES agent.phase_results ON DELETE CASCADE,
    invocation_id uuid REFERENCES agent.agent_invocations ON DELETE SET NULL,
    tool_call_id text,
    kind agent.cta_kind NOT NULL,
    request_message text NOT NULL,
    request_prompt text,
    request_placeholder text,
    request_options jsonb,
    response_approved boolean,
    response_reason text,
    response_text text,
    response_selected_id text,
    requested_at timestamptz DEFAULT now() NOT NULL,
    responded_at timestamptz,
    timed_out boolean DEFAULT false NOT NULL
);
CREATE INDEX idx_cta_events_invocation_id ON agent.cta_events (invocation_id);
CREATE INDEX idx_cta_events_phase_result_id ON agent.cta_events (phase_result_id);
CREATE INDEX idx_cta_events_run_id ON agent.cta_events (run_id);
