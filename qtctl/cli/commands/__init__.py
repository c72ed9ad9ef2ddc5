"""One module per command, exactly those that COMMANDS in `cli/main.py` names."""
