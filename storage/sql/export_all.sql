-- All rows of a table.
COPY (
    SELECT {columns} FROM {table} AS row_ {joined}
) TO STDOUT (FORMAT csv, DELIMITER {delimiter}, QUOTE {quote}, NULL {null})
