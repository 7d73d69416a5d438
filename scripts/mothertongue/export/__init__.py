"""Adapters exported to the formats of other programs."""
