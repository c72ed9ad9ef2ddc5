"""The two loops, each `read → decide → write`, and the recorder; their metrics and heartbeats."""
