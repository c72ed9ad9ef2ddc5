"""`make soak-history`: recorder, loops and server are killed at random under load; then the history
against what was really in the streams.

    python -m tests.soak_history [--seconds 600] [--seed N] [--keep DIR]

Exits 1 where anything that was still in a stream is missing, anything is there twice, or a gap is
not reported.
"""

import argparse
import random
import sys
from pathlib import Path

from tests.soak_history.scene import run


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak_history", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for so long (600)")
    parser.add_argument("--seed", type=int, help="of plans and acts (default: a new one)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep history and logs there")
    asked = parser.parse_args()
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    _say(f"seed {seed}, {asked.seconds:.0f} s")
    report = run(asked.seconds, seed, _say, asked.keep)
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1


def _say(line: str) -> None:
    sys.stderr.write(f"soak-history: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
