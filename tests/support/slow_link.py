"""A link to a server that is as slow as wanted, as a process of its own.

    python -m tests.support.slow_link SOCKET

Prints the port of 127.0.0.1 that it listens at; each line on stdin is the round trip in seconds
from then on; ends with stdin. Nothing is lost and nothing waits for a reply: what is pipelined
stays pipelined.
"""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 16
_trip_sec = 0.0


class SlowLink:
    """`url` leads through it."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.pid = process.pid
        self.url = f"redis://127.0.0.1:{port}/0"

    def round_trip(self, seconds: float) -> None:
        """From now on each takes so long, beside what it takes anyway."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{seconds}\n".encode())
            self._process.stdin.flush()


@contextlib.contextmanager
def slow_link(socket: Path) -> Iterator[SlowLink]:
    """To the server behind this Unix socket, which may come and go meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.slow_link", str(socket)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            yield SlowLink(process, int(process.stdout.readline()))
        finally:
            process.kill()


async def _main(path: str) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.create_task(_pump(reader, upstream[1])),
            asyncio.create_task(_pump(upstream[0], writer)),
        ]
        serving.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
            serving.discard(pump)
        for end in (writer, upstream[1]):
            end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    global _trip_sec
    while line := await commands.readline():
        _trip_sec = float(line)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction: each chunk half a round trip after it came. Until either end closes."""
    chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                chunks.put_nowait((time.monotonic() + _trip_sec / 2, chunk))
        chunks.put_nowait((0.0, b""))

    task = asyncio.create_task(read())
    try:
        with contextlib.suppress(OSError):
            while True:
                due, chunk = await chunks.get()
                if not chunk:
                    return
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                writer.write(chunk)
                await writer.drain()
    finally:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
