"""A real server of qtctl's own behind `embedded:`, for trying things out, proofs and tests."""
