"""`qtctl bench`: what the loops cost, beside what Redis itself costs."""

from collections import Counter
from typing import Annotated, Any

import msgspec

from qtctl.cli.framework import ROWS, Context, arg, arguments, command, new_app, opt, process
from qtctl.cli.output import emit, verdict_style
from qtctl.cli.output.columns import text
from qtctl.errors import UsageError

app = new_app("bench")

ALL = (
    "allocation", "governor", "governors", "latency", "memory", "publishing", "startup", "history",
    "evidence",
)  # fmt: skip


FIGURES = (
    text("", "verdict", style=verdict_style),
    text("what", "what", fold=True),
    text("figure", lambda it: _amount(it.value, it.unit), right=True),
    text("target", lambda it: _target(it), right=True),
    text("spread", lambda it: _spread(it.spread), right=True),
    text("ours", lambda it: _median(it.measured, it), right=True, drop=1),
    text("beside", lambda it: _median(it.beside, it), right=True, drop=1),
    text("note", "note", fold=True, drop=2),
)  # fmt: skip
STEPS = (
    text("step", "step", fold=True),
    text("median µs", lambda it: f"{it.median_us:,.0f}", right=True),
    text("share", lambda it: "" if it.share is None else f"{it.share:.0%}", right=True),
)
JSON = ("suite", "what", "value", "unit", "target", "at_least", "verdict", "ok", "spread",
        "measured", "beside", "measured_unit", "note")  # fmt: skip


@command(app, outputs=ROWS)
def bench(
    ctx: Context,
    suite: Annotated[
        str,
        arg(
            "SUITE",
            "allocation, governor, governors, latency, memory, publishing, startup, history, "
            "evidence or all.",
        ),
    ],
    rounds: Annotated[int, opt("--rounds", "Rounds of each.", min=1, max=100)] = 7,
    trace: Annotated[
        bool, opt("--trace", "latency only: where the time of one plan goes.")
    ] = False,
) -> int:
    """Measure the loops on a private server, each figure beside its floor in the same run.

    PASS and FAIL are what the rounds prove; UNSURE where their spread covers the target. Exits 1
    on a FAIL. With --redis-url that server is measured; it must hold nothing of ours. The machine
    should have nothing else to do.

    Examples:
        qtctl bench all
        qtctl bench governor --rounds 10 -o json
        qtctl bench latency --trace
    """
    arguments.choice(suite, "SUITE", (*ALL, "all"))
    if trace and suite != "latency":
        raise UsageError("--trace belongs to the suite latency: 'qtctl bench latency --trace'")
    from qtctl.bench import running

    url = ctx.settings.redis.url if ctx.loaded.explicit_url else None
    if url is not None:
        ctx.announce("measuring: keys of our own are written there, and removed")
    if trace:
        found_steps = running.trace_of(url)
        emit(ctx, found_steps, STEPS, as_json=msgspec.structs.asdict)
        return 0
    process.collect_as_usual()  # As the services do that are measured.
    found = []
    for figure in running.figures(ALL if suite == "all" else (suite,), url, rounds):
        ctx.say(f"{figure.verdict} {figure.suite}: {figure.what}: {figure.value:.2f} {figure.unit}")
        found.append(figure)
    emit(ctx, found, FIGURES, as_json=lambda it: {name: getattr(it, name) for name in JSON})
    counts = Counter(str(figure.verdict) for figure in found)
    ctx.say(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return int(counts["FAIL"] > 0)


def _amount(value: float, unit: str) -> str:
    return f"{value:,.2f} ×" if unit == "x" else f"{value:,.1f} {unit}"


def _target(figure: Any) -> str:
    return f"{'≥' if figure.at_least else '≤'} {_amount(figure.target, figure.unit)}"


def _spread(spread: Any) -> str:
    return "" if spread is None else f"{spread.low:,.2f} to {spread.high:,.2f}"


def _median(side: Any, figure: Any) -> str:
    return "" if side is None else f"{side.median:,.2f} {figure.measured_unit}"
