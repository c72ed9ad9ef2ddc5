"""The Redis contract, and the only package that imports redis."""
