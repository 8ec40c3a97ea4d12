"""The DuckDB layer over exported ledgers."""
