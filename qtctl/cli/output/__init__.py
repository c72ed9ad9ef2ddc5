"""All that prints data: columns, formats, tables, JSON. Nothing else writes to stdout."""
