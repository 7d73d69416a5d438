"""The translated dataset, and the threads and preferences that are made from it."""
