-- commit_line: the kept commits that lead to one, the oldest first.
WITH RECURSIVE line AS (
    SELECT c.sha, c.parent, 1 AS depth FROM public.commits c WHERE c.sha = %(sha)s
    UNION ALL
    SELECT c.sha, c.parent, line.depth + 1
    FROM line JOIN public.commits c ON c.sha = line.parent
)
SELECT sha FROM line ORDER BY depth DESC
