-- counts: how many runs, workstreams, steps and attempts there are in each status.
SELECT 'runs' AS what, status::text AS status, count(*) AS n FROM public.runs GROUP BY status
UNION ALL
SELECT 'workstreams', status::text, count(*) FROM public.workstreams GROUP BY status
UNION ALL
SELECT 'steps', status::text, count(*) FROM public.steps GROUP BY status
UNION ALL
SELECT 'attempts', status::text, count(*) FROM public.step_attempts GROUP BY status
ORDER BY 1, 2
