-- tool_results_expired: removes results that nobody will get again, but for those in use just now.
DELETE FROM public.tool_results
WHERE id IN (
    SELECT id
    FROM public.tool_results
    WHERE created_at + make_interval(secs => ttl_seconds) <= clock_timestamp()
    ORDER BY id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
)
