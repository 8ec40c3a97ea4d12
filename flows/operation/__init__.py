"""Keeping it all running: the servers, the worker, the deployments; `up`, `down` and `doctor`."""
