-- name: error_recovery_rate_transient
-- title: Error recovery rate, transient causes
-- grain: error episode
-- unit: ratio
-- kind: rate
-- better: higher
-- slices: week, project, agent, model, phase, stage, class
-- definition: As the error recovery rate, of the episodes that a transient cause opened:
--   rate_limited, quota_exhausted, infra, crashed, flaky.
CREATE VIEW metric_error_recovery_rate_transient AS
FROM error_episodes
WHERE class IN ('rate_limited', 'quota_exhausted', 'infra', 'crashed', 'flaky')
