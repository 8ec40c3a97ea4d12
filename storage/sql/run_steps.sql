-- run_steps: the steps of a run's tree in plan order, those not begun too.
SELECT
    s.id AS step_id,
    t.title AS task,
    st.key AS subtask,
    st.title AS subtask_title,
    s.step_number,
    s.step_type::text AS step_type,
    s.file_path,
    s.status::text AS status,
    s.assigned_to::text AS assigned_to,
    s.attempt_count,
    s.last_error,
    w.ws_id,
    w.status::text AS workstream_status
FROM public.runs r
JOIN public.tasks t ON t.feature_id = r.feature_id
JOIN public.subtasks st ON st.task_id = t.id
JOIN public.steps s ON s.subtask_id = st.id
LEFT JOIN public.workstreams w ON w.run_id = r.run_id AND w.subtask_id = st.id
WHERE r.run_id = %(run_id)s
ORDER BY t.id, st.id, s.step_number
