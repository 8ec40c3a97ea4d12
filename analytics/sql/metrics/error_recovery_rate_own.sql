-- name: error_recovery_rate_own
-- title: Error recovery rate, the agent's own failures
-- grain: error episode
-- unit: ratio
-- kind: rate
-- better: higher
-- slices: week, project, agent, model, phase, stage, class
-- definition: As the error recovery rate, of the episodes that an agent's own failure opened:
--   every class that is not transient.
CREATE VIEW metric_error_recovery_rate_own AS
FROM error_episodes
WHERE class NOT IN ('rate_limited', 'quota_exhausted', 'infra', 'crashed', 'flaky')
