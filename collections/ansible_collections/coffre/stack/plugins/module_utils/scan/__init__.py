"""The search for values where none may be."""
