"""Trust: things are broken on purpose, and the promises hold."""
