"""Making the bundles."""
