-- name: error_recovery_rate
-- title: Error recovery rate
-- grain: error episode
-- unit: ratio
-- kind: rate
-- better: higher
-- target: > 0.9
-- slices: week, project, agent, model, phase, stage, class
-- definition: Closed error episodes that a later attempt resolved unaided, divided by closed error
--   episodes. An episode opens at a step's first failed attempt, has that attempt's class, and
--   closes when the step ends.
CREATE VIEW metric_error_recovery_rate AS
FROM error_episodes
