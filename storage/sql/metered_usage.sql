-- metered_usage: what the model requests of an attempt add up to, as `token_usage` has it; no row where
-- none was metered. One unknown part makes a sum unknown.
SELECT
    CASE WHEN count(*) = count(input_tokens) THEN sum(input_tokens)::int END AS prompt_tokens,
    CASE WHEN count(*) = count(output_tokens) THEN sum(output_tokens)::int END AS completion_tokens,
    CASE WHEN count(*) = count(total_tokens) THEN sum(total_tokens)::int END AS total_tokens,
    CASE
        WHEN count(*) = count(coalesce(cost_reported, cost_computed))
            THEN sum(coalesce(cost_reported, cost_computed))::float8
    END AS cost
FROM agent.agent_invocations
WHERE attempt_id = %(attempt_id)s AND usage_raw ? 'requests'
HAVING count(*) > 0
