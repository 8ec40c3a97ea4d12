-- What every query of the analytics may use.

-- The ISO 8601 week of a moment, in UTC: 2026-W53 for the 1st of January 2027.
CREATE MACRO iso_week(moment) AS strftime(moment AT TIME ZONE 'UTC', '%G-W%V');

-- Days since 1970-01-01, in UTC. Much cheaper than a date for millions of rows.
CREATE MACRO day_number(moment) AS (epoch_us(moment) // 86400000000)::INTEGER;

-- The ISO 8601 week of such a day; 1970-01-01 was a Thursday, by which ISO weeks are counted.
CREATE MACRO week_of_day(day) AS strftime(DATE '1970-01-01' + ((day + 3) // 7 * 7)::INTEGER, '%G-W%V');

-- Of the files of one week, the rows that count: for each key that of the last file by name. A key
-- is there once in a file, so that the first file, the large one, need not be ordered.
CREATE MACRO latest(files, key) AS TABLE
    WITH said_later AS (
        SELECT *, struct_extract(row_, key) AS key_
        FROM read_parquet(files[2:], filename = true, union_by_name = true, hive_partitioning = false) AS row_
        QUALIFY row_number() OVER (PARTITION BY struct_extract(row_, key) ORDER BY filename DESC) = 1
    )
    SELECT row_.*
    FROM read_parquet(files[1], hive_partitioning = false) AS row_
    ANTI JOIN said_later ON struct_extract(row_, key) = said_later.key_
    UNION ALL BY NAME
    SELECT * EXCLUDE (filename, key_) FROM said_later;

-- Parts of steps (see facts/attempt_parts.sql) put together: one row a step. An attempt is such a
-- part, and so is what is known of a step from one week.
CREATE MACRO merged(parts) AS TABLE
    SELECT
        key, run_id, step_id,
        any_value(source) AS source,
        any_value(project) AS project,
        any_value(phase) AS phase,
        any_value(step_type) AS step_type,
        arg_max_null(stage, last_order) AS stage,
        arg_max_null(agent, last_order) AS agent,
        arg_max_null(model, last_order) AS model,
        arg_max_null(last_state, last_order) AS last_state,
        arg_max_null(last_class, last_order) AS last_class,
        arg_max_null(last_red, last_order) AS last_red,
        max(last_order) AS last_order,
        max(ended_at) AS ended_at,
        max(day) AS day,
        arg_min_null(started_at, first_order) AS started_at,
        arg_max_null(completed_at, last_order) AS completed_at,
        min(first_order) AS first_order,
        arg_min(failed_class, failed_order) AS failed_class,
        min(failed_order) AS failed_order,
        sum(attempts)::INTEGER AS attempts,
        min(attempt_no) AS attempt_no,
        min(reopened_at) AS reopened_at,
        bool_or(intervened) AS intervened,
        bool_or(intervened_unknown) AS intervened_unknown,
        arg_max_null(taken_back_at, last_order) AS taken_back_at,
        bool_and(continues) AS continues
    FROM query_table(parts)
    GROUP BY key, run_id, step_id;

-- Rows of `usage` summed up by day and by everything that they may be sliced by.
CREATE MACRO summed_up(rows_of_usage) AS TABLE
    SELECT
        source, day, project, agent, model, phase, stage, class, rework, is_attempt, uses_model,
        count(*) AS calls,
        sum(input_tokens) AS input_tokens, count(input_tokens) AS input_tokens_known,
        sum(output_tokens) AS output_tokens, count(output_tokens) AS output_tokens_known,
        count(coalesce(input_tokens, output_tokens)) AS tokens_known,
        sum(cache_read_tokens) AS cache_read_tokens,
        count(cache_read_tokens) AS cache_read_tokens_known,
        sum(cache_write_tokens) AS cache_write_tokens,
        count(cache_write_tokens) AS cache_write_tokens_known,
        sum(reasoning_tokens) AS reasoning_tokens, count(reasoning_tokens) AS reasoning_tokens_known,
        sum(cost_reported) AS cost_reported, count(cost_reported) AS cost_reported_known,
        sum(cost_computed) AS cost_computed, count(cost_computed) AS cost_computed_known,
        sum(cost_reported - cost_computed) AS cost_difference,
        count(cost_reported - cost_computed) AS cost_difference_known,
        sum(cost) AS cost, count(cost) AS cost_known
    FROM query_table(rows_of_usage)
    GROUP BY ALL;

-- The rows of a metric in a window of days (its end excluded; NULL: open), of one project or all,
-- with the number of their ISO week.
CREATE MACRO in_window(metric, since_day, until_day, wanted) AS TABLE
    SELECT *, 0 AS always, (day + 3) // 7 AS week
    FROM query_table(metric)
    WHERE (since_day IS NULL OR day >= since_day)
        AND (until_day IS NULL OR day < until_day)
        AND (wanted IS NULL OR project = wanted);

-- A metric of counts or sums, sliced.
CREATE MACRO counted(metric, slices, since_day, until_day, wanted) AS TABLE
    SELECT
        COLUMNS(lambda c: c = 'always' OR list_contains(slices, c)),
        sum(numerator) AS total_numerator,
        sum(denominator) AS total_denominator,
        sum(unknown) AS total_unknown
    FROM in_window(metric, since_day, until_day, wanted)
    GROUP BY ALL
    ORDER BY ALL;

-- The same of the beginnings of what it counts, for metrics whose target is where they began.
CREATE MACRO counted_before(metric, slices, since_day, until_day, wanted) AS TABLE
    SELECT
        COLUMNS(lambda c: c = 'always' OR list_contains(slices, c)),
        sum(numerator_before) AS total_numerator,
        sum(denominator_before) AS total_denominator
    FROM in_window(metric, since_day, until_day, wanted)
    GROUP BY ALL
    ORDER BY ALL;

-- Metrics that are quantiles of seconds, sliced; of whole steps unless they are sliced by kind.
CREATE MACRO ranked(metric, slices, since_day, until_day, wanted, shares) AS TABLE
    SELECT
        COLUMNS(lambda c: c = 'always' OR list_contains(slices, c)),
        quantile_cont(seconds, shares) AS quantiles,
        count(seconds) AS total_known,
        count(*) - count(seconds) AS total_unknown
    FROM in_window(metric, since_day, until_day, wanted)
    WHERE kind = 'end_to_end' OR list_contains(slices, 'kind')
    GROUP BY ALL
    ORDER BY ALL;

-- The single measurements of a metric that is compared with a baseline.
CREATE MACRO measured(metric, slices, since_day, until_day, wanted) AS TABLE
    SELECT
        COLUMNS(lambda c: c IN ('always', 'size', 'seconds') OR list_contains(slices, c))
    FROM in_window(metric, since_day, until_day, wanted)
    WHERE seconds IS NOT NULL
    ORDER BY ALL;
