"""Answers of an adapter and its base model by a server that is started for them."""
