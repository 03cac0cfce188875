"""The fault table of the rotation: see __main__.py."""
