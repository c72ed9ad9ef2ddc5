"""The six-plus-six proofs: what the loops do, read back from outside, beside fixed numbers.

Stands beside the command line: starts `qtctl serve` as a process, and imports no service.
"""
