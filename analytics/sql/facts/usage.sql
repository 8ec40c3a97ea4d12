-- usage: Tokens and cost of everything that may use a model: attempts, conversations of other phases,
-- and model requests out of transcripts. `rework`: an attempt beyond a step's first, or taken back.
CREATE MACRO usage_of(some_attempts) AS TABLE
SELECT
    source, day, run_id, project, agent, model, phase, stage, class,
    coalesce(attempt_no > 1, false) OR taken_back AS rework,
    true AS is_attempt,
    uses_model,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_reported, cost_computed, cost, filed
FROM query_table(some_attempts)
WHERE ended AND NOT unnumbered;

-- Of no week, so that it is never materialised.
CREATE VIEW other_usage AS
-- Where attempts are not numbered, the first one is that which began first, whichever week that was:
-- nothing of it is settled when a week is over.
SELECT
    source, day, run_id, project, agent, model, phase, stage, class,
    again AS rework,
    true AS is_attempt,
    uses_model,
    input_tokens, output_tokens, cache_read_tokens, cost_reported,
    'other' AS filed
FROM (
    SELECT *, row_number() OVER (PARTITION BY run_id, step_id ORDER BY position) > 1 AS again
    FROM attempts
    WHERE unnumbered
)
WHERE ended
UNION ALL BY NAME
SELECT
    'ledger' AS source,
    day_number(coalesce(i.completed_at, i.started_at)) AS day,
    f.run_id,
    p.name AS project,
    i.agent_type AS agent,
    coalesce(i.response_model_id, i.model_id) AS model,
    r.phase,
    false AS rework,
    false AS is_attempt,
    true AS uses_model,
    coalesce(i.input_tokens_no_cache, i.input_tokens - coalesce(i.input_tokens_cache_read, 0)
        - coalesce(i.input_tokens_cache_write, 0)) AS input_tokens,
    i.output_tokens,
    i.input_tokens_cache_read AS cache_read_tokens,
    i.input_tokens_cache_write AS cache_write_tokens,
    i.output_tokens_reasoning AS reasoning_tokens,
    i.cost_reported,
    i.cost_computed,
    coalesce(i.cost_reported, i.cost_computed) AS cost,
    'other' AS filed
FROM agent_invocations i
LEFT JOIN phase_results r ON r.id = i.phase_result_id
LEFT JOIN feature_runs f ON f.id = r.run_id
LEFT JOIN runs ON runs.run_id = f.run_id
LEFT JOIN features ON features.id = runs.feature_id
LEFT JOIN projects p ON p.id = features.project_id
WHERE i.attempt_id IS NULL
UNION ALL BY NAME
SELECT
    source,
    day_number(requested_at) AS day,
    session_id AS run_id,
    project, agent, model,
    false AS rework,
    false AS is_attempt,
    true AS uses_model,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd AS cost_reported,
    cost_usd AS cost,
    'other' AS filed
FROM model_requests;

CREATE VIEW usage AS
FROM usage_of('attempts')
UNION ALL BY NAME
FROM other_usage
