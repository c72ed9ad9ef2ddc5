"""qtctl: operator's tool and service host for the allocation loop and the governor."""

__version__ = "0.1.0"
