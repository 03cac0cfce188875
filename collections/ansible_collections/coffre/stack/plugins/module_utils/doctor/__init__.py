"""The examination of a stack."""
