"""Makes docs/top.svg and docs/top-wide.svg from a real session of `qtctl top` on a terminal, with
both services on a private server and synthetic traffic: `make picture-top`, which takes nine
minutes, so that the trend lines have something to show; a number of seconds makes it shorter."""

import contextlib
import fcntl
import os
import pty
import random
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from docs.generators.demo_picture import FONT_FACES
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import Keys

FRAMES = {
    "top.svg": (80, 24, ("1", "2", "4", "\r")),
    "top-wide.svg": (160, 48, ("1",)),
}
"""Columns, lines, and the keys before each frame of the session."""
WARM_UP_SEC = 500.0
SHOWN_URL = "redis://redis-1a:6379/0"
"""As long as the URL of the private server, whose port has five digits."""
SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "AVAXUSDT"),
    *("LINKUSDT", "DOTUSDT", "LTCUSDT", "TRXUSDT", "ATOMUSDT", "NEARUSDT", "FILUSDT", "APTUSDT"),
    *("ARBUSDT", "OPUSDT", "INJUSDT", "SUIUSDT", "SEIUSDT", "TIAUSDT", "UNIUSDT", "AAVEUSDT"),
)
_PLACED = re.compile(r"\x1b\[(\d+);1H")
_DRAW = random.Random(29)


def upstream(store: Store) -> None:
    """Targets and scores, a few of which are missing, stale or of low confidence."""
    now = store.now_ms() // 1000
    # That a governor found a new server is shown for an hour.
    store.run("DEL", "quantum:governor:emptied")
    for place, symbol in enumerate(SYMBOLS):
        target, score = f"allocation:target:{symbol}", f"capital:efficiency:{symbol}"
        usd = round(1000 / (1 + place / 6), 2)
        fields = ("target_usd", usd, "confidence", 0.8, "timestamp", now, "mode", "enforce")
        store.run("HSET", f"quantum:{target}", *fields)
        if place % 8 == 5:
            continue
        confidence, age = (0.4 if place % 9 == 4 else 0.9), (700 if place % 11 == 7 else 3)
        worth = round(_DRAW.uniform(0.2, 0.9), 4)
        own = ("efficiency_score", worth, "confidence", confidence, "ts", now - age)
        store.run("HSET", f"quantum:{score}", *own, "mode", "enforce", "version", "p31_v1")


def plans(store: Store, stop: threading.Event) -> None:
    """A plan every second or so, some of which are blocked; targets and scores beside them."""
    number = 1000
    while not stop.wait(_DRAW.expovariate(1.1)):
        number += 1
        if number % 20 == 0:
            upstream(store)
        fields = {"plan_id": f"harvest-{number}", "symbol": _DRAW.choice(SYMBOLS[:14]),
                  "action": "OPEN_PROPOSED", "decision": "EXECUTE", "side": "BUY", "qty": 0.02,
                  "price": _DRAW.choice((3200, 4800, 6100)), "kill_score": 0.1,
                  "source": "harvest_v2"}  # fmt: skip
        if number % 7 == 0:
            fields["kill_score"] = 0.86
        if number % 5 == 0:
            fields |= {"action": "PARTIAL_50_PROPOSED", "reduceOnly": "true"}
        if number % 11 == 0:
            fields["qty"] = 0.06
        flat = [part for pair in fields.items() for part in pair]
        store.run("XADD", store.keys.plans, "*", *flat)


@contextlib.contextmanager
def services(url: str, directory: str) -> Iterator[None]:
    """Both of them in one process, with traffic."""
    sets = ("governor.name=gov-1", "allocation.name=alloc-1", "governor.metrics_port=0",
            "allocation.metrics_port=0", "allocation.interval_sec=2")  # fmt: skip
    words = [part for each in sets for part in ("--set", each)]
    with Path(directory, "log").open("w") as log:
        serve = subprocess.Popen(
            [sys.executable, "-m", "qtctl", "--redis-url", url, *words, "serve", "all"],
            stdout=log, stderr=log, env=environ(),
        )  # fmt: skip
        stop, store = threading.Event(), Store(url, Keys())
        sender = threading.Thread(target=plans, args=(store, stop))
        try:
            sender.start()
            yield
        finally:
            stop.set()
            sender.join()
            store.close()
            serve.terminate()
            serve.wait()


def environ() -> dict[str, str]:
    return os.environ | {"QTCTL_CONFIG": os.devnull, "TERM": "xterm-256color"}


def session(url: str, columns: int, lines: int, keys: tuple[str, ...]) -> list[list[str]]:
    """The lines that stand on the screen after each key."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    top = subprocess.Popen(
        [sys.executable, "-m", "qtctl", "--redis-url", url, "top"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ(), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    screen = [""] * lines
    frames = []
    drawn(ours, screen, 3.0)
    for key in keys:
        os.write(ours, key.encode())
        drawn(ours, screen, 2.5)
        frames.append(list(screen))
    os.write(ours, b"q")
    with contextlib.suppress(OSError):  # The end of a terminal is an error on Linux.
        while os.read(ours, 65_536):
            pass
    os.close(ours)
    if top.wait() != 0:
        raise SystemExit(f"qtctl top ended with {top.returncode}")
    return frames


def drawn(terminal: int, screen: list[str], seconds: float) -> None:
    """Take in what is drawn within that time: each line at its place."""
    until, sent = time.monotonic() + seconds, b""
    while (left := until - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            sent += os.read(terminal, 65_536)
    _, *placed = _PLACED.split(sent.decode())
    for row, line in zip(placed[::2], placed[1::2], strict=True):
        if int(row) <= len(screen):
            screen[int(row) - 1] = line.replace("\x1b[J", "")


def svg(frames: list[list[str]], columns: int) -> str:
    rule = f"\x1b[2m{'─' * columns}\x1b[0m"
    lines = [line for frame in frames for line in (rule, *frame)][1:]
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere)
        console.print(Text.from_ansi("\n".join(lines)))
        # No fonts from elsewhere: the page must be whole by itself.
        return FONT_FACES.sub("", console.export_svg(title="qtctl top"))


def five_digit_port() -> int:
    """A free one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port >= 10_000:
            return port


def main() -> None:
    port = five_digit_port()
    url = f"redis://127.0.0.1:{port}"
    with temporary(port=port), tempfile.TemporaryDirectory() as directory:
        store = Store(url, Keys())
        upstream(store)
        with services(url, directory):
            time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else WARM_UP_SEC)
            upstream(store)
            for name, (columns, lines, keys) in FRAMES.items():
                frames = [
                    [line.replace(url, SHOWN_URL) for line in frame]
                    for frame in session(url, columns, lines, keys)
                ]
                page = Path(__file__).parents[1] / name
                page.write_text(svg(frames, columns), encoding="utf-8")
        store.close()


if __name__ == "__main__":
    main()
