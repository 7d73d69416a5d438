"""Resolve model references; fetch, record and load models."""
