-- Tables without rows in place of the facts, each made right after its fact, while the views that rest
-- on it are made: DuckDB looks through all that a view is made of, and they are many.
CREATE TEMP TABLE attempts AS FROM memory.main.attempts LIMIT 0;
CREATE TEMP TABLE open_attempts AS FROM memory.main.open_attempts LIMIT 0;
CREATE TEMP TABLE attempt_parts AS FROM memory.main.attempt_parts LIMIT 0;
CREATE TEMP TABLE usage AS FROM memory.main.usage LIMIT 0;
CREATE TEMP TABLE step_parts AS FROM memory.main.step_parts LIMIT 0;
CREATE TEMP TABLE step_outcomes AS FROM memory.main.step_outcomes LIMIT 0;
CREATE TEMP TABLE steps_by_day AS FROM memory.main.steps_by_day LIMIT 0;
CREATE TEMP TABLE usage_by_day AS FROM memory.main.usage_by_day LIMIT 0;
CREATE TEMP TABLE run_suites AS FROM memory.main.run_suites LIMIT 0;
CREATE TEMP TABLE subtask_times AS FROM memory.main.subtask_times LIMIT 0;
CREATE TEMP TABLE durations AS FROM memory.main.durations LIMIT 0;
