-- pushed_runs: runs of one plan that pushes to a repository began, the latest first.
SELECT
    r.run_id,
    r.status::text AS status,
    r.metadata_json ->> 'base_commit' AS base_commit
FROM public.runs r
JOIN public.features f ON f.id = r.feature_id
JOIN public.projects p ON p.id = f.project_id
WHERE p.repo_path = %(repo_path)s
    AND r.metadata_json ->> 'plan_hash' = %(plan_hash)s
    AND r.metadata_json -> 'options' ->> 'pushed' IS NOT NULL
ORDER BY r.created_at DESC, r.run_id DESC
