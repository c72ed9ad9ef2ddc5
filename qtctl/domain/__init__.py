"""Pure decisions, no I/O: scores, the multiplier, the downsize hint, plans, the gates."""
