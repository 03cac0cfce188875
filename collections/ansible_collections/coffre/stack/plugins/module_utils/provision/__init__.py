"""The vault itself: what the inventory says of it, as resources of Azure, and one loop that makes them so."""
