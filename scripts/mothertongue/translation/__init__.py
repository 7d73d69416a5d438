"""Translation of messages: segments, engines, checks, routes."""
