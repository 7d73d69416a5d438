"""Models: what a reference names, how a model is fetched, recorded and loaded."""
