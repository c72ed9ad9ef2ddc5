"""Synthetic traffic for the demo."""
