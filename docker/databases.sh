#!/bin/sh
# The databases of the ledger and of Prefect, made once when PostgreSQL's volume is empty.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set password="$LEDGER_PASSWORD" <<'SQL'
CREATE ROLE greenline LOGIN PASSWORD :'password';
CREATE DATABASE greenline OWNER greenline;
CREATE DATABASE prefect OWNER greenline;
SQL
