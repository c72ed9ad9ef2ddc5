"""The scripts that run inside Redis; `wire/client/scripts.py` loads them."""
