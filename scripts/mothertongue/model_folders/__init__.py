"""Read model and adapter folders from untrusted sources: select the files to read, and detect damage."""
