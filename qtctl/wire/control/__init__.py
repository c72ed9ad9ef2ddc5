"""What changes the state of the system on purpose: kill switches, halts, injected data."""
