"""Installing the services on a host and rolling back: files and systemd only, no Redis."""
