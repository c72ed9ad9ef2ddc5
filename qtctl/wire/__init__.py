"""The Redis contract: the only package that imports redis."""
