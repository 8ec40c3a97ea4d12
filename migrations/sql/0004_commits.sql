-- The objects of git that each commit of an attempt added, so that a run can be taken up on another
-- host than the one that made them (docs/decisions/0028-several-hosts.md).

-- pack: a thin pack; what it builds on is in the parent, which lies here or in the repository.
CREATE TABLE commits (
    sha text PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    parent text NOT NULL,
    pack bytea NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX idx_commits_project_id ON commits (project_id);
