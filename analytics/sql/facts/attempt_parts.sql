-- attempt_parts: Each attempt as a part of its step; the macro `merged` puts parts together.
-- `continues`: an attempt at the same step may be filed under another week.
CREATE MACRO parts_of(some_attempts) AS TABLE
SELECT
    hash(run_id, step_id) AS key,
    run_id, step_id, source, project, phase, step_type, stage, agent, model,
    state AS last_state,
    class AS last_class,
    red AS last_red,
    position AS last_order,
    CASE WHEN ended THEN coalesce(completed_at, started_at) END AS ended_at,
    day,
    started_at,
    completed_at,
    position AS first_order,
    class AS failed_class,
    CASE WHEN status = 'failure' THEN position END AS failed_order,
    ended::INTEGER AS attempts,
    attempt_no,
    CASE WHEN taken_back THEN taken_back_at END AS reopened_at,
    CASE WHEN taken_back THEN taken_back_at END AS taken_back_at,
    intervened,
    intervened IS NULL AS intervened_unknown,
    attempt_no IS DISTINCT FROM 1 AS continues,
    filed
FROM query_table(some_attempts);

CREATE VIEW attempt_parts AS FROM parts_of('attempts');
