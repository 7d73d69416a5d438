"""The files between steps: their schemas and readers."""
