"""Real services with traffic, and a real Prometheus with the rules as they are shipped."""

import contextlib
import json
import re
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from qtctl.settings import section_of
from qtctl.simulate import demo_traffic
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import Keys
from tests.support.debian import needed
from tests.support.processes import process, qtctl

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "etc" / "prometheus"
RULES = CONFIG / "qtctl.rules.yml"
FAST = "400ms"
PORTS = {
    "governor": "127.0.0.1:8044", "allocation": "127.0.0.1:8065", "recorder": "127.0.0.1:8066",
}  # fmt: skip
"""Where the services listen by default: what configuration and runbooks say."""


class Services(NamedTuple):
    """The services in one process. addresses: service to host:port; history: its folder."""

    url: str
    addresses: dict[str, str]
    history: str

    def metrics(self, service: str) -> bytes:
        """A service's metrics page, as Prometheus gets it from those who ask for plain text."""
        with urllib.request.urlopen(f"http://{self.addresses[service]}/metrics") as answer:
            page: bytes = answer.read()
            return page

    def addressed(self, text: str) -> str:
        """A text with the real addresses in the place of the default ones."""
        for service, default in PORTS.items():
            text = text.replace(default, self.addresses[service])
        return text


@contextlib.contextmanager
def running() -> Iterator[Services]:
    """`qtctl serve all` on a private server of its own, on free ports."""
    with temporary() as server, tempfile.TemporaryDirectory(prefix="qtctl-test-") as history:
        sets = [f"{section_of(name)}.metrics_port=0" for name in PORTS]
        sets += ["allocation.interval_sec=0.2", "history.enabled=true", f"history.dir={history}"]
        args = [part for each in sets for part in ("--set", each)]
        with qtctl("--redis-url", server.url, "serve", "all", *args) as child:
            addresses = {}
            for name in PORTS:
                line = child.wait_for_line(f"{name} listening url=")
                addresses[name] = line.rpartition("url=http://")[2].split()[0]
            yield Services(server.url, addresses, history)


@contextlib.contextmanager
def traffic(url: str) -> Iterator[None]:
    """The demo's mix of everything, again and again, with the plan_ids changed each time."""
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=(url, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _send(url: str, stop: threading.Event) -> None:
    store = _Renaming(url, Keys())
    demo_traffic.scores_and_targets(store)
    while not stop.is_set():
        store.round += 1
        for send in demo_traffic.PLANS:
            send(store)
            stop.wait(0.02)
    store.close()


class _Renaming(Store):
    """Gives plans another plan_id in each round."""

    round = 0

    def run(self, *command: Any) -> Any:
        if command[0] == "XADD" and self.round > 1:
            command = tuple(
                f"{part}-{self.round}" if str(part).startswith("demo-") else part
                for part in command
            )
        return super().run(*command)


class Prometheus(NamedTuple):
    """A running Prometheus, asked over HTTP."""

    base: str

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer; fails where it is an error."""
        address = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[float]:
        """The values that an expression has now, NaN left out."""
        found = self.get("query", query=expr)
        rows = [found["result"]] if found["resultType"] == "scalar" else found["result"]
        numbers = [float((row if isinstance(row, list) else row["value"])[1]) for row in rows]
        return [number for number in numbers if number == number]

    def rules(self) -> list[Any]:
        """All recording and alert rules, as it has read them."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def prometheus(services: Services) -> Iterator[Prometheus]:
    """Debian's Prometheus with the files of etc/prometheus: only the intervals and the addresses
    are others, so that a test needs no minutes."""
    program = needed("prometheus")
    with tempfile.TemporaryDirectory(prefix="prometheus-") as directory:
        own = Path(directory)
        for file in (CONFIG / "prometheus.yml", RULES):
            text = re.sub(r"(interval: )10s$", rf"\g<1>{FAST}", file.read_text(), flags=re.M)
            text = services.addressed(text).replace("scrape_timeout: 5s", f"scrape_timeout: {FAST}")
            (own / file.name).write_text(text)
        with process([
            program, f"--config.file={own}/prometheus.yml", f"--storage.tsdb.path={own}/data",
            "--web.listen-address=127.0.0.1:0",
        ]) as child:  # fmt: skip
            line = child.wait_for_line('msg="Listening on"')
            child.wait_for_line("ready to receive web requests")
            yield Prometheus("http://" + re.search(r"address=(\S+)", line)[1])  # type: ignore[index]


def wait(condition: Any, seconds: float) -> Any:
    """Like `until`, less often: each question here is a query."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result
