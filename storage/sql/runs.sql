-- runs: executions of feature plans, the latest first, with how far they got.
SELECT
    r.run_id,
    p.id AS project_id,
    p.name AS project,
    f.title AS feature,
    r.status::text AS status,
    r.metadata_json ->> 'branch' AS branch,
    r.created_at,
    r.updated_at,
    (SELECT count(*) FROM public.workstreams w WHERE w.run_id = r.run_id) AS workstreams,
    (SELECT count(*) FROM public.workstreams w WHERE w.run_id = r.run_id AND w.status = 'done')
        AS workstreams_done,
    plan.steps,
    plan.steps_completed,
    (SELECT count(*) FROM public.step_attempts a WHERE a.run_id = r.run_id) AS attempts
FROM public.runs r
LEFT JOIN public.features f ON f.id = r.feature_id
LEFT JOIN public.projects p ON p.id = f.project_id
CROSS JOIN LATERAL (
    SELECT count(*) AS steps, count(*) FILTER (WHERE s.status = 'completed') AS steps_completed
    FROM public.tasks t
    JOIN public.subtasks st ON st.task_id = t.id
    JOIN public.steps s ON s.subtask_id = st.id
    WHERE t.feature_id = r.feature_id
) plan
WHERE (%(project_id)s::integer IS NULL OR p.id = %(project_id)s)
ORDER BY r.created_at DESC, r.run_id DESC
LIMIT %(limit)s
