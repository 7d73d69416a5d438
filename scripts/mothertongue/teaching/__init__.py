"""A chat model that answers in the target language what users wrote: what it is asked, and what its answers must be."""
