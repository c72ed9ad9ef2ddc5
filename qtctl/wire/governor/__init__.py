"""What the governor reads and writes: the plan queue, the atomic step, its events."""
