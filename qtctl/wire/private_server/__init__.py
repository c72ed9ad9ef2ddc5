"""A real Redis-compatible server of our own behind `embedded:`, for demo, proofs and tests."""
