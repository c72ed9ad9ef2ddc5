"""What the loops cost beside what Redis itself costs, measured side by side in one run.

A figure alone says little about a machine; a ratio to the bare Redis floor of the same minute does.
"""
