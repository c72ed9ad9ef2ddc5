"""What changes the system's state on purpose: kill switches, halts, injected data."""
