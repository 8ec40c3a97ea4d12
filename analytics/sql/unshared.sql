-- The facts themselves again, of all days and as the files are now.
DROP TABLE IF EXISTS temp.open_attempts;
DROP TABLE IF EXISTS temp.open_step_parts;
DROP TABLE IF EXISTS temp.steps_by_day;
DROP TABLE IF EXISTS temp.usage_by_day;
DROP TABLE IF EXISTS temp.run_suites;
DROP TABLE IF EXISTS temp.subtask_times;
RESET VARIABLE shared_end;
