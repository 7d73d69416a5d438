"""Servers that answer chat requests over HTTP: a client, its budget, and what was answered before."""
