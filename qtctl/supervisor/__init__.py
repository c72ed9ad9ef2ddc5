"""Hosts the services: a thread and a port each, backoff, signals, systemd, health, logs."""
