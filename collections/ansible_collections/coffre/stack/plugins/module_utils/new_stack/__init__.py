"""A folder of inventory for a new stack: one to begin with, or one made from a Compose file. Runs on the controller."""
