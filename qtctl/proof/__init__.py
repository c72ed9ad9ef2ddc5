"""The twelve proofs: the loops run as processes and are checked from outside."""
