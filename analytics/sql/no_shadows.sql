-- The facts themselves again.
DROP TABLE temp.attempts;
DROP TABLE temp.open_attempts;
DROP TABLE temp.attempt_parts;
DROP TABLE temp.usage;
DROP TABLE temp.step_parts;
DROP TABLE temp.step_outcomes;
DROP TABLE temp.steps_by_day;
DROP TABLE temp.usage_by_day;
DROP TABLE temp.run_suites;
DROP TABLE temp.subtask_times;
DROP TABLE temp.durations;
