-- The rows of a table that a transaction wrote which an earlier snapshot did not see. Between them
-- the first two conditions are what an index answers: all that such a transaction's number can be.
COPY (
    SELECT {columns} FROM {table} AS row_ {joined}
    WHERE row_.changed_in >= pg_snapshot_xmin({since}::pg_snapshot)
        AND row_.changed_in < pg_snapshot_xmax(pg_current_snapshot())
        AND NOT pg_visible_in_snapshot(row_.changed_in, {since}::pg_snapshot)
) TO STDOUT (FORMAT csv, DELIMITER {delimiter}, QUOTE {quote}, NULL {null})
