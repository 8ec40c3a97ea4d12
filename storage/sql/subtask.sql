-- subtask: stored subtasks with that id or key, the latest first, with the run they are part of.
SELECT
    st.id AS subtask_id,
    st.key,
    st.status::text AS status,
    p.id AS project_id,
    p.repo_path,
    w.ws_id,
    w.run_id,
    w.status::text AS workstream_status,
    r.metadata_json ->> 'base_commit' AS base_commit,
    r.metadata_json -> 'plan' AS plan
FROM public.subtasks st
JOIN public.tasks t ON t.id = st.task_id
JOIN public.features f ON f.id = t.feature_id
JOIN public.projects p ON p.id = f.project_id
JOIN public.workstreams w ON w.subtask_id = st.id
JOIN public.runs r ON r.run_id = w.run_id
WHERE (st.id = %(subtask_id)s::integer OR st.key = %(key)s::text)
ORDER BY st.id DESC
LIMIT 1
