"""Chat templates: rendering conversations as the text and tokens that a model reads."""
