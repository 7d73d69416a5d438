"""Read the source dataset of conversation trees."""
