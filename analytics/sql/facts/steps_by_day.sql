-- steps_by_day: How many steps ended in which way, by the day of their end and by everything that
-- they may be sliced by. Steps that are open, untried or cancelled are left out. The view
-- `error_episodes` has those of them that had a failure, by the class of the first one.
CREATE VIEW steps_by_day AS
SELECT
    day, project, agent, model, phase, stage, step_type, class, failed_class, outcome,
    was_helped, was_reopened, had_failure,
    attempts = 1 AND coalesce(attempt_no, 1) <= 1 AS at_first,
    last_red > 0 AS was_red,
    coalesce(intervened_unknown, false) AS help_unknown,
    count(*) AS steps,
    -- How long each took: quantiles cannot be put together from quantiles.
    list((epoch_us(completed_at) - epoch_us(started_at)) / 1000000) AS seconds
FROM step_outcomes
WHERE outcome IN ('completed', 'failed', 'unknown', 'rolled_back')
GROUP BY ALL;

CREATE VIEW error_episodes AS
SELECT
    day, project, agent, model, phase, stage, failed_class AS class,
    CASE WHEN outcome IN ('completed', 'rolled_back') AND NOT was_helped THEN steps ELSE 0 END AS numerator,
    steps AS denominator,
    CASE WHEN outcome = 'unknown' THEN steps ELSE 0 END AS unknown
FROM steps_by_day
WHERE had_failure
