-- run_attempts: what was tried in a run, in the order of the numbers.
SELECT
    a.step_id,
    a.id AS attempt_id,
    a.number,
    a.attempt_no,
    a.status::text AS status,
    a.active,
    a.failure_class,
    a.commit_sha_before,
    a.commit_sha_after,
    a.exit_code,
    a.duration_ms,
    a.token_usage,
    a.started_at,
    a.completed_at
FROM public.step_attempts a
WHERE a.run_id = %(run_id)s
ORDER BY a.number, a.id
