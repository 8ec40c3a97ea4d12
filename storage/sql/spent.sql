-- spent: tokens and USD that attempts used so far, by step, run, and project in this week (UTC).
-- What was not measured counts as nothing here: a budget can stop only what is known.
SELECT
    coalesce(sum(tokens) FILTER (WHERE step_id = %(step_id)s), 0)::float8 AS step_tokens,
    coalesce(sum(usd) FILTER (WHERE step_id = %(step_id)s), 0)::float8 AS step_usd,
    coalesce(sum(tokens) FILTER (WHERE run_id = %(run_id)s), 0)::float8 AS run_tokens,
    coalesce(sum(usd) FILTER (WHERE run_id = %(run_id)s), 0)::float8 AS run_usd,
    coalesce(sum(tokens) FILTER (WHERE this_week), 0)::float8 AS week_tokens,
    coalesce(sum(usd) FILTER (WHERE this_week), 0)::float8 AS week_usd
FROM (
    SELECT
        a.step_id,
        a.run_id,
        a.started_at >= date_trunc('week', now(), 'UTC') AS this_week,
        (a.token_usage ->> 'total_tokens')::float8 AS tokens,
        (a.token_usage ->> 'cost')::float8 AS usd
    FROM public.step_attempts a
    WHERE a.project_id = %(project_id)s
        AND a.token_usage IS NOT NULL
        AND (a.run_id = %(run_id)s OR a.started_at >= date_trunc('week', now(), 'UTC'))
) used
