"""Folders of models and adapters that may come from strangers: which files are read, and how their damage is found."""
