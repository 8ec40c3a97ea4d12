"""What Prefect's UI shows of a run beside its tasks: made of the ledger, written as artifacts."""
