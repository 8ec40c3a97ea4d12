-- attempt_verifications: the executions of the test command that judged an attempt, with the tests
-- that did not pass.
SELECT
    v.id AS verification_id,
    v.kind,
    v.tree,
    v.exit_code,
    v.timed_out,
    v.duration_ms,
    v.passed,
    v.failed,
    v.errored,
    v.skipped,
    v.load_errors,
    v.report_state,
    coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('node_id', r.node_id, 'outcome', r.outcome, 'message', r.message)
            ORDER BY r.id
        )
        FROM public.test_results r
        WHERE r.verification_id = v.id AND r.outcome IN ('failed', 'errored', 'load_error')
    ), '[]'::jsonb) AS not_passed
FROM public.verifications v
WHERE v.attempt_id = %(attempt_id)s
ORDER BY v.id
