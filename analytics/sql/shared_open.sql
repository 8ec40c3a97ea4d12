-- What is known of the weeks that are not materialised, few where the others are: looked at once.
CREATE TEMP TABLE open_attempts AS FROM memory.main.open_attempts;
CREATE TEMP TABLE open_step_parts AS FROM open_step_parts_merged;
