"""HAProxy before the services: its configuration, and its side of a rollout."""
