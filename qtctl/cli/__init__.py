"""The command line: reads, then prints. `main` is the root, `compose` puts services together."""
