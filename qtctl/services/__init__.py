"""The two loops, each `read → decide → write`, with their metrics and their heartbeat in Redis."""
