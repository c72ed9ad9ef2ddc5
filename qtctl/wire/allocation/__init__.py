"""What the allocation loop reads and writes: symbols, scores, passes, proposals."""
