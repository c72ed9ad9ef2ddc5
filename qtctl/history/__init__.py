"""The history: what both loops decided and on what, one SQLite file per UTC day. No Redis."""
