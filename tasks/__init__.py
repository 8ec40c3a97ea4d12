"""The work, one subject a module: plans, sandboxes, agents, gates, attempts."""
