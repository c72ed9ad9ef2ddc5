"""What stands on the wire, defined once: keys, ids, records and how they are encoded."""
