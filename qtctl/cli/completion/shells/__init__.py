"""The script that each shell reads to complete `qtctl` command lines."""
