"""The agents that edit files: one protocol, one adapter a module."""
