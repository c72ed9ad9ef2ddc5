"""The Redis contract; but for bench, the only package that imports redis."""
