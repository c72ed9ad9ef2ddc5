"""The command line: `main` is the root, `compose` puts services together; a module per command."""
