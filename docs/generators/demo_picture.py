"""Makes docs/demo.svg from a real run of `qtctl demo` on a terminal: `make picture`."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH, LINES_SHOWN = 100, 34
FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def run() -> str:
    """What a person sees, with its colours."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    demo = subprocess.Popen(
        [sys.executable, "-m", "qtctl", "demo"], stdout=theirs, stderr=theirs, env=environ
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # The end of a terminal is an error on Linux.
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    if demo.wait() != 0:
        raise SystemExit(f"qtctl demo ended with {demo.returncode}")
    return shown.decode().replace("\r\n", "\n")


def main() -> None:
    lines = ["$ qtctl demo", *run().splitlines()[:LINES_SHOWN], "…"]
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.from_ansi("\n".join(lines)))
        svg = console.export_svg(title="qtctl demo")
    # No fonts from elsewhere: the page must be whole by itself.
    picture = Path(__file__).parents[1] / "demo.svg"
    picture.write_text(FONT_FACES.sub("", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
