"""The production checklist: small read-only checks from outside, each with its fix.

Stands beside the command line, like the proofs: imports no service. Each check is a function that
takes the `Inspection` and gives findings; `checklist.CHECKS` has them in order, `running.examine`
runs them, and one that can't be carried out is `unknown` and stops no other.
"""
