"""The connection to Redis: URLs, pipelines, loading scripts, finding the primary."""
