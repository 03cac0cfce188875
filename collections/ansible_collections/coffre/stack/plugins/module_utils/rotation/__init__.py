"""Replacing versions."""
