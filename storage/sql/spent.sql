-- spent: tokens and USD that attempts used so far, by step, run, and project in this week (UTC), also
-- those under way and what was replayed. What was not measured counts as nothing here: a budget can
-- stop only what is known. A metered invocation says in `usage_raw` what is known of it at least.
WITH attempts AS (
    SELECT id, step_id, run_id, token_usage, started_at
    FROM public.step_attempts
    WHERE project_id = %(project_id)s
        AND (run_id = %(run_id)s OR started_at >= date_trunc('week', now(), 'UTC'))
),
metered AS (
    SELECT
        i.attempt_id,
        sum((i.usage_raw ->> 'tokens')::float8) AS tokens,
        sum(coalesce(i.cost_reported::float8, (i.usage_raw ->> 'usd')::float8)) AS usd
    FROM agent.agent_invocations i
    JOIN attempts a ON a.id = i.attempt_id
    WHERE i.usage_raw ? 'requests'
    GROUP BY i.attempt_id
),
elsewhere AS (
    SELECT
        f.run_id,
        i.started_at,
        coalesce((i.usage_raw ->> 'tokens')::float8, i.total_tokens) AS tokens,
        coalesce(i.cost_reported, i.cost_computed, (i.usage_raw ->> 'usd')::numeric)::float8 AS usd
    FROM agent.agent_invocations i
    JOIN agent.phase_results r ON r.id = i.phase_result_id
    JOIN agent.feature_runs f ON f.id = r.run_id
    JOIN public.runs ON runs.run_id = f.run_id
    JOIN public.features ON features.id = runs.feature_id
    WHERE i.attempt_id IS NULL
        AND features.project_id = %(project_id)s
        AND (f.run_id = %(run_id)s OR i.started_at >= date_trunc('week', now(), 'UTC'))
),
used AS (
    SELECT
        a.step_id, a.run_id, a.started_at,
        coalesce(m.tokens, (a.token_usage ->> 'total_tokens')::float8) AS tokens,
        coalesce(m.usd, (a.token_usage ->> 'cost')::float8) AS usd
    FROM attempts a
    LEFT JOIN metered m ON m.attempt_id = a.id
    UNION ALL
    SELECT NULL, run_id, started_at, tokens, usd FROM elsewhere
)
SELECT
    coalesce(sum(tokens) FILTER (WHERE step_id = %(step_id)s), 0)::float8 AS step_tokens,
    coalesce(sum(usd) FILTER (WHERE step_id = %(step_id)s), 0)::float8 AS step_usd,
    coalesce(sum(tokens) FILTER (WHERE run_id = %(run_id)s), 0)::float8 AS run_tokens,
    coalesce(sum(usd) FILTER (WHERE run_id = %(run_id)s), 0)::float8 AS run_usd,
    coalesce(sum(tokens) FILTER (WHERE started_at >= date_trunc('week', now(), 'UTC')), 0)::float8 AS week_tokens,
    coalesce(sum(usd) FILTER (WHERE started_at >= date_trunc('week', now(), 'UTC')), 0)::float8 AS week_usd
FROM used
