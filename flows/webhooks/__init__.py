"""Webhooks of GitHub and GitLab: the receiver, and the process that it runs in."""
