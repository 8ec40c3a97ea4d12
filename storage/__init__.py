"""The ledger: PostgreSQL tables, states and the functions that read and write them."""
