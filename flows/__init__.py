"""The Prefect flows, the services they need, and the command line."""
