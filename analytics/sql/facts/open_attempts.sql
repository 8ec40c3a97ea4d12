-- open_attempts: Those of `attempts` whose weeks are not materialised, without what only people read.
CREATE VIEW open_attempts AS
SELECT * EXCLUDE (attempt_id, message, exit_code, failure_class, lines_added, lines_deleted)
FROM attempts
WHERE NOT list_contains(getvariable('materialised_weeks'), filed)
