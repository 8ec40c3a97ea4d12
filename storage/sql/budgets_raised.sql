-- budgets_raised: how often people answered that a run may spend as much again, by budget. The option
-- that they chose names it.
SELECT option ->> 'raises' AS budget, count(*)::int AS times
FROM agent.cta_events c
JOIN agent.feature_runs f ON f.id = c.run_id
CROSS JOIN jsonb_array_elements(c.request_options) AS option
WHERE f.run_id = %(run_id)s
    AND c.response_selected_id = option ->> 'id'
    AND option ->> 'raises' IS NOT NULL
GROUP BY 1
