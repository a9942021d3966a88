"""One module per command; the command object is always called `cli`."""
