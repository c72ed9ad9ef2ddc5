"""The connection to Redis: from a URL to a client, pipelines, scripts, finding the primary."""
