-- commit_pack: the objects of a kept commit.
SELECT pack FROM public.commits WHERE sha = %(sha)s
