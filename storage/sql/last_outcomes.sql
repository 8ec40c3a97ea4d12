-- last_outcomes: the latest word on each test of a run's line of commits. A failed attempt's tree
-- is not on the line, neither is one that was rolled back.
SELECT DISTINCT ON (r.node_id) r.node_id, r.file_path, r.outcome, r.duration_ms, r.message
FROM public.verifications v
LEFT JOIN public.step_attempts a ON a.id = v.attempt_id
JOIN public.test_results r ON r.verification_id = v.id
WHERE v.run_id = %(run_id)s
    AND (v.attempt_id IS NULL AND v.kind = 'baseline'
        OR a.active AND a.status IN ('success', 'skipped'))
ORDER BY r.node_id, v.id DESC
