"""Git pushes: noticed by hooks and webhooks, kept until they are told, and what is new in them."""
