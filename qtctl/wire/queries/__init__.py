"""Reads that change nothing: decisions, permits, services, streams, groups, targets, status."""
