"""`qtctl demo`: both loops on a private server, a seeded mix of everything, and what came of it."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qtctl import clock
from qtctl.cli.framework import Context, command, new_app
from qtctl.cli.framework.listing import Listing
from qtctl.cli.output import Rows, emit_one
from qtctl.cli.output.columns import number, text
from qtctl.errors import QtctlError
from qtctl.simulate import demo_traffic

if TYPE_CHECKING:
    from qtctl.services.base import Service
    from qtctl.wire.client.store import Store

app = new_app("demo")

DEADLINE_SEC = 8.0
"""Nothing in the demo takes a second; a machine on its knees gets a little more."""
METRICS = (text("metric", "metric", fold=True), number("value", "value"))
SHOWN_METRICS = (
    "p29_shadow_loops_total",
    "p29_shadow_proposed_total",
    "p32_eff_apply_total",
    "p32_rejected_total",
    "p32_skipped_total",
)
NEXT = """\
Try next, on a server that stays (in a second terminal):
  qtctl serve all --embedded
  qtctl --redis-url embedded: inject target BTCUSDT 1000
  qtctl --redis-url embedded: inject eff BTCUSDT 0.2
  qtctl --redis-url embedded: inject plan BTCUSDT --wait 2
  qtctl --redis-url embedded: tail proposed -f
  qtctl --redis-url embedded: plan list"""


@command(app)
def demo(ctx: Context) -> None:
    """Run both loops on a private server with synthetic traffic, and show what they make of it.

    Takes a few seconds, touches no Redis of yours, and leaves nothing behind.

    Examples:
        qtctl demo
        qtctl demo -o json
    """
    import logging

    from qtctl.cli import compose
    from qtctl.settings import SERVICES
    from qtctl.supervisor import logs
    from qtctl.wire.governor.plan_queue import group_state
    from qtctl.wire.private_server.embedded import temporary

    # Nobody's settings, but how to print: the demo shows the same everywhere.
    wanted = ("TERM", "NO_COLOR", "COLUMNS", "TZ", "HOME")
    display = {name: ctx.environ[name] for name in wanted if name in ctx.environ}
    own = Context(ctx.output, ctx.utc, ctx.debug, config=os.devnull, environ=display,
              sets=("allocation.metrics_port=0", "governor.metrics_port=0", "governor.name=demo",
                    "allocation.name=demo", "allocation.interval_sec=0.5"))  # fmt: skip
    logs.configure("error", "auto")
    logging.getLogger("qtctl.decisions").setLevel(logging.ERROR)
    ctx.say("A private server, both loops, synthetic traffic; nothing of yours is touched.")
    with temporary() as server:
        store = own.connection(server.url)
        try:
            demo_traffic.scores_and_targets(store)
            hosted = compose.services(own, SERVICES, server.url)
            with _running(hosted, store):
                _until(
                    lambda: store.run("XLEN", store.keys.proposed_stream) >= demo_traffic.PROPOSALS,
                    "the allocation loop proposed nothing",
                )
                # Opens that wait for its first look are quarantined in the server's first second.
                _until(lambda: group_state(store), "the governor did not look at the server")
                for send in demo_traffic.PLANS:
                    send(store)
                    _until(lambda: _settled(store), "the governor settled no plan")
                _show(own, store, hosted)
        finally:
            store.close()
    if ctx.output == "table":
        for line in NEXT.splitlines():
            ctx.say(line)


@contextmanager
def _running(hosted: "Sequence[Service]", store: "Store") -> Iterator[None]:
    """Both loops under the supervisor, in a thread, until the demo has shown all."""
    import logging

    from qtctl.supervisor.run import Supervisor

    supervisor = Supervisor(hosted)
    # A daemon, started within the try: an interrupt at any point here must not leave a thread that
    # the interpreter would wait for.
    thread = threading.Thread(target=supervisor.run, name="supervisor", daemon=True)
    try:
        thread.start()
        yield
    finally:
        supervisor.stop()
        # An interrupt from here on leaves loops whose server goes away, which is no news.
        logging.getLogger("qtctl").setLevel(logging.CRITICAL)
        # On a connection of its own: an interrupt may have left the other with a reply to come.
        with suppress(QtctlError), closing(store.to_url(store.url)) as beside:
            while thread.is_alive():
                _end_reads(beside)
                thread.join(0.02)
        if thread.is_alive():
            thread.join()


def _end_reads(store: "Store") -> None:
    """Ends the reads that wait on the server: a governor waits for the next plan for a second."""
    for client in store.run("CLIENT", "LIST").splitlines():
        store.run("CLIENT", "UNBLOCK", client.split()[0].removeprefix(b"id="))


def _until(done: Any, problem: str) -> None:
    deadline = clock.monotonic() + DEADLINE_SEC
    while not done():
        if clock.monotonic() >= deadline:
            raise QtctlError(f"the demo got stuck: {problem} in {DEADLINE_SEC:g} s")
        clock.sleep(0.01)


def _settled(store: "Store") -> bool:
    """True if the group has read and acknowledged all that was sent."""
    from qtctl.wire.governor.plan_queue import group_state
    from qtctl.wire.schema.records import text as decoded

    state = group_state(store)
    newest = store.run("XREVRANGE", store.keys.plans, "+", "-", "COUNT", 1)
    return (
        state is not None
        and state.pending == 0
        and bool(newest)
        and state.last_id == decoded(newest[0][0])
    )


def _show(ctx: Context, store: "Store", hosted: "Sequence[Service]") -> None:
    from qtctl.cli.views import permits, plans, scores, streams, targets
    from qtctl.wire.queries import decisions

    blocked = [row for row in decisions.every(store) if row["verdict"] == "blocked"]
    live, scored = targets.rows(store, ()), list(scores.rows(ctx, store, ()))
    of = streams.LISTED
    hundred = Listing(limit=100)
    seen = streams.last(ctx, store, streams.Look("plans", hundred))
    repeated = [row for row in seen if row["verdict_reason"] in demo_traffic.ABOUT_ANOTHER]
    rejected = streams.last(ctx, store, streams.Look("rejected", hundred))
    metrics = [row for service in hosted for row in _metrics(service)]
    parts = {
        "targets": Rows(live, targets.LISTED.columns, "Proposals: target × multiplier, in shadow"),
        "scores": Rows(scored, scores.LISTED.columns, "Scores, and what they count as"),
        "permits": Rows(permits.rows(store), permits.LISTED.columns, "Permits: single use, 60 s"),
        "blocked": Rows(blocked, plans.LISTED.columns, "Blocked plans, and the gate that did it"),
        "repeated": Rows(repeated, of["plans"].columns, "Plans that repeat or contradict a permit"),
        "rejected": Rows(rejected, of["rejected"].columns, "Rejected: plans that can't be read"),
        "metrics": Rows(metrics, METRICS, "Metrics, as /metrics shows them"),
    }
    record = {name: part.rows for name, part in parts.items()}
    record["permits"] = [permits.as_json(row) for row in record["permits"]]
    emit_one(ctx, record, *parts.values())


def _metrics(service: "Service") -> Iterator[dict[str, Any]]:
    """The series worth a look, those at 0 left out."""
    for family in service.registry.collect():
        for sample in family.samples:
            if sample.name in SHOWN_METRICS and sample.value:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                shown = f"{sample.name}{{{labels}}}" if labels else sample.name
                yield {"metric": shown, "value": sample.value}
