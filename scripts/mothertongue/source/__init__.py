"""Datasets of conversation trees, as they come."""
