"""Publication on the hub."""
