"""What a shell reads to complete `qtctl` command lines: one script each."""
