"""What makes the generated parts of docs/: `make docs` runs `generate`; tests check the result."""
