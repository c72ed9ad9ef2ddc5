"""What completes command lines: the engine, bash's words, and a script for each shell."""
