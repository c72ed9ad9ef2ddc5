"""Installing the services on a host, and putting back what was there.

Files and systemd only: nothing here talks to Redis.
"""
