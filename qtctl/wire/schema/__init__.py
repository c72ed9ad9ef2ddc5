"""What stands in Redis, defined once: keys, ids, records, and how they are encoded."""
