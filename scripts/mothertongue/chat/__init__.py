"""Conversations with an adapter."""
