"""What several commands show: health, halts, permits, targets, what-if, why, deployments."""
