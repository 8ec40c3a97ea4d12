-- usage_by_day: Sums of `usage` by day and by everything it may be sliced by, with how many rows had
-- a figure. Weeks that are over are read as they were summed up before.
CREATE VIEW open_usage AS
FROM usage_of('open_attempts')
UNION ALL BY NAME
FROM other_usage;

CREATE VIEW usage_by_day AS
FROM closed_usage
UNION ALL BY NAME
FROM summed_up('open_usage')
