"""What Coffre keeps on a host: files, state, seals, the tmpfs and the bundles on it."""
