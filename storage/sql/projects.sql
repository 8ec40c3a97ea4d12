-- projects: the repositories that Greenline works on.
SELECT id, name, repo_path, default_branch, last_attempt_number, created_at, updated_at
FROM public.projects
WHERE (%(name)s::text IS NULL OR name = %(name)s)
    AND (%(repo_path)s::text IS NULL OR repo_path = %(repo_path)s)
ORDER BY name
