"""Chat with an adapter."""
