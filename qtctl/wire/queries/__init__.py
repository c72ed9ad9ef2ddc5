"""Everything that only looks: decisions, permits, services, streams, groups, targets, status."""
