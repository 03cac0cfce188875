"""What values are made of and how long they live."""
