"""One module per command, exactly those in COMMANDS of `cli/main.py`; none imports another."""
