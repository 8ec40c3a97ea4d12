-- run_of_flow_run: the run that a Prefect flow run carries or carried.
SELECT r.run_id
FROM public.runs r
WHERE r.metadata_json -> 'prefect_flow_run_ids' ? %(flow_run_id)s
ORDER BY r.created_at DESC
LIMIT 1
