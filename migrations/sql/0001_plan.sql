-- The plan: project, feature, task, subtask, step. Each run of a plan has a tree of its own.

CREATE TYPE step_type AS ENUM ('implementation', 'test');
CREATE TYPE status AS ENUM ('pending', 'in_progress', 'completed', 'failed');
CREATE TYPE assigned_to AS ENUM ('TaraAider', 'DevonAider');

-- last_attempt_number: attempts are numbered per project under this row's lock.
CREATE TABLE projects (
    id serial PRIMARY KEY,
    name text NOT NULL UNIQUE,
    repo_path text NOT NULL UNIQUE,
    default_branch text DEFAULT 'main' NOT NULL,
    last_attempt_number integer DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL
);

CREATE TABLE features (
    id serial PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    title text NOT NULL,
    description text DEFAULT '' NOT NULL,
    status status DEFAULT 'pending' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX idx_features_project_id ON features (project_id);

CREATE TABLE tasks (
    id serial PRIMARY KEY,
    feature_id integer NOT NULL REFERENCES features ON DELETE CASCADE,
    title text NOT NULL,
    description text DEFAULT '' NOT NULL,
    status status DEFAULT 'pending' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX idx_tasks_feature_id ON tasks (feature_id);

CREATE TABLE subtasks (
    id serial PRIMARY KEY,
    task_id integer NOT NULL REFERENCES tasks ON DELETE CASCADE,
    key text NOT NULL,
    title text NOT NULL,
    description text DEFAULT '' NOT NULL,
    acceptance_criteria jsonb DEFAULT '[]'::jsonb NOT NULL,
    depends_on jsonb DEFAULT '[]'::jsonb NOT NULL,
    status status DEFAULT 'pending' NOT NULL,
    completed_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    UNIQUE (task_id, key)
);

CREATE TABLE steps (
    id serial PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    subtask_id integer NOT NULL REFERENCES subtasks ON DELETE CASCADE,
    step_number integer NOT NULL,
    step_type step_type NOT NULL,
    file_path text,
    instructions text,
    status status DEFAULT 'pending' NOT NULL,
    assigned_to assigned_to NOT NULL,
    context_snapshot json,
    context_files jsonb,
    attempt_count integer DEFAULT 0 NOT NULL,
    last_error text,
    parent_step_id integer REFERENCES steps ON DELETE SET NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT steps_context_files_check CHECK (jsonb_typeof(context_files) = 'array'),
    CONSTRAINT steps_step_number_check CHECK (step_number > 0),
    UNIQUE (subtask_id, step_number)
);
CREATE INDEX idx_steps_created_at ON steps (created_at);
CREATE INDEX idx_steps_parent_step_id ON steps (parent_step_id);
CREATE INDEX idx_steps_project_id ON steps (project_id);
CREATE INDEX idx_steps_status ON steps (status);
CREATE INDEX idx_steps_subtask_id ON steps (subtask_id);

COMMENT ON TABLE steps IS 'Tracks individual workflow steps within subtasks';
