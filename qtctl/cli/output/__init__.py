"""All that prints data: columns, formats, tables, JSON; nothing else writes to stdout."""
