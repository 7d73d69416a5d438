"""Reports as pages, and the summary on the terminal."""
