"""Keycloak as the strategies that it verifies for talk to it."""
