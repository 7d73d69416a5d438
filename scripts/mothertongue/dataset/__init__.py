"""The translated dataset, and the threads and preferences derived from it."""
