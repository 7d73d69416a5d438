"""Schemas and readers of the files passed between steps."""
