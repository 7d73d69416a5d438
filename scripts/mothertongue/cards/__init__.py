"""Model and dataset cards (README.md)."""
