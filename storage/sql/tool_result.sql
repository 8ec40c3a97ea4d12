-- tool_result: what a read-only tool said, if that is fresh and of the same state of things.
SELECT
    result,
    extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s
FROM public.tool_results
WHERE project_id = %(project_id)s
    AND tool_name = %(tool_name)s
    AND action IS NOT DISTINCT FROM %(action)s::text
    AND args_hash = %(args_hash)s
    AND fingerprint = %(fingerprint)s
    AND created_at + make_interval(secs => ttl_seconds) > clock_timestamp()
