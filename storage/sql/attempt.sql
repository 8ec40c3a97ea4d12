-- attempt: everything about one attempt, by the number that people type.
SELECT
    a.id AS attempt_id,
    a.number,
    a.attempt_no,
    a.status::text AS status,
    a.active,
    a.failure_class,
    a.intervened,
    a.commit_sha_before,
    a.commit_sha_after,
    a.exit_code,
    a.duration_ms,
    a.token_usage,
    a.agent_config,
    a.result_json,
    a.started_at,
    a.completed_at,
    parent.number AS parent_number,
    a.run_id,
    a.ws_id,
    a.step_name,
    p.id AS project_id,
    p.name AS project,
    p.repo_path,
    f.title AS feature,
    st.key AS subtask,
    s.id AS step_id,
    s.step_number,
    s.step_type::text AS step_type,
    s.file_path,
    s.instructions,
    s.assigned_to::text AS assigned_to,
    s.status::text AS step_status
FROM public.step_attempts a
JOIN public.projects p ON p.id = a.project_id
LEFT JOIN public.step_attempts parent ON parent.id = a.parent_attempt_id
LEFT JOIN public.steps s ON s.id = a.step_id
LEFT JOIN public.subtasks st ON st.id = s.subtask_id
LEFT JOIN public.tasks t ON t.id = st.task_id
LEFT JOIN public.features f ON f.id = t.feature_id
WHERE a.project_id = %(project_id)s AND a.number = %(number)s
