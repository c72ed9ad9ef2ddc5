"""Deploying and rolling back."""
