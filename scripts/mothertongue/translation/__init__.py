"""Translate messages: segments, engines, quality checks, routes."""
