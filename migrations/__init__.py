"""Alembic's migrations of the ledger; `storage.database` runs them, also when installed.

The DDL of a revision lies in `sql/<revision>_*.sql`. A new revision is begun with
`alembic -c migrations/alembic.ini revision --rev-id 0002 -m "…"`: four digits, so that the schema
version is the revision's number.
"""
