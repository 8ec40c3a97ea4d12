-- attempt_invocations: the agents' processes and conversations of an attempt, with their requests to models.
SELECT
    i.id::text AS invocation_id,
    coalesce(i.response_model_id, i.model_id) AS model,
    i.model_provider AS provider,
    i.step_count AS requests,
    i.input_tokens,
    i.output_tokens,
    i.input_tokens_cache_read AS cache_read_tokens,
    i.cost_reported::float8 AS cost_reported,
    i.cost_computed::float8 AS cost_computed,
    i.price_version,
    i.started_at,
    i.completed_at,
    coalesce(
        (
            SELECT jsonb_agg(
                jsonb_build_object(
                    'tool', c.tool_name,
                    'input', c.input,
                    'output_type', c.output_type,
                    'request', s.step_number
                )
                ORDER BY s.step_number NULLS LAST, c.created_at, c.id
            )
            FROM agent.tool_calls c
            LEFT JOIN agent.agent_steps s ON s.id = c.step_id
            WHERE c.invocation_id = i.id
        ),
        '[]'::jsonb
    ) AS tool_calls
FROM agent.agent_invocations i
WHERE i.attempt_id = %(attempt_id)s
ORDER BY i.started_at
