"""Chat templates: how a conversation becomes the text that a model reads."""
