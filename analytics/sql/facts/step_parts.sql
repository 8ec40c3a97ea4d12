-- step_parts: What is known of each step, in parts. Of weeks that are over a part is what the week's
-- attempts came to, put together before; otherwise each attempt is one.
CREATE VIEW open_step_parts AS
SELECT * EXCLUDE (filed) FROM parts_of('open_attempts');

CREATE VIEW open_keys_of_several AS
SELECT key FROM open_step_parts GROUP BY key HAVING count(*) > 1;

CREATE VIEW open_parts_of_several AS
FROM open_step_parts SEMI JOIN open_keys_of_several USING (key);

CREATE VIEW open_step_parts_merged AS
FROM open_step_parts ANTI JOIN open_keys_of_several USING (key)
UNION ALL BY NAME
FROM merged('open_parts_of_several');

CREATE VIEW step_parts AS
FROM closed_step_parts
UNION ALL BY NAME
FROM open_step_parts
