-- subtask_steps: a step's subtask with the steps of it in their order, and how far each one is.
SELECT
    st.id AS subtask_id,
    st.key,
    st.title,
    st.status::text AS status,
    s.step_number,
    s.step_type::text AS step_type,
    s.file_path,
    s.status::text AS step_status,
    s.attempt_count,
    s.id = %(step_id)s AS this_one
FROM public.steps asked
JOIN public.subtasks st ON st.id = asked.subtask_id
JOIN public.steps s ON s.subtask_id = st.id
WHERE asked.id = %(step_id)s
ORDER BY s.step_number
