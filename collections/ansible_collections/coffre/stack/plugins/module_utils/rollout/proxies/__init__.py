"""What stands before the services and says which container gets requests."""
