"""How a command is made: its options, its context, what it may be given, and how it ends."""
