"""Bringing services to what is desired."""
