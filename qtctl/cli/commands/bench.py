"""`qtctl bench`: what the loops cost, beside what Redis itself costs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import text
from qtctl.cli.output.render import emit

if TYPE_CHECKING:
    from qtctl.bench.figures import Figure

app = new_app("bench")

ALL = ("allocation", "governor", "governors", "latency", "memory", "startup")


def _style(value: Any) -> str:
    return {"PASS": "green", "FAIL": "bold red"}.get(str(value), "")


FIGURES = (
    text("", "result", style=_style),
    text("what", "what", fold=True),
    text("figure", "figure", right=True),
    text("target", "asked", right=True),
    text("ours", "ours", right=True, drop=1),
    text("beside", "theirs", right=True, drop=1),
    text("spread", "spread", right=True, drop=2),
    text("note", "note", fold=True, drop=3),
)

JSON = ("suite", "what", "value", "unit", "target", "at_least", "ok", "measured", "beside",
        "measured_unit", "note")  # fmt: skip


@command(app)
def bench(
    ctx: Context,
    suite: Annotated[
        str,
        typer.Argument(help="allocation, governor, governors, latency, memory, startup or all."),
    ],
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="Rounds of each.")] = 5,
) -> None:
    """Measure the loops on a private server, each figure beside its floor in the same run.

    A figure is a ratio, or has a target of its own; 1 where one is missed. With --redis-url that
    server is measured; it must hold nothing of ours. The machine should have nothing else to do.

    Examples:
        qtctl bench all
        qtctl bench governor --rounds 10 -o json
    """
    arguments.choice(suite, "SUITE", (*ALL, "all"))
    from qtctl.bench import running

    url = ctx.settings.redis.url if ctx.loaded.explicit_url else None
    rows = []
    for figure in running.figures(ALL if suite == "all" else (suite,), url, rounds):
        ctx.say(f"{figure.suite}: {figure.what}: {figure.value:.2f} {figure.unit}")
        rows.append(_row(figure))
    emit(ctx, rows, FIGURES, as_json=lambda row: {name: row[name] for name in JSON})
    if any(row["result"] == "FAIL" for row in rows):
        raise typer.Exit(1)


def _row(figure: "Figure") -> dict[str, Any]:
    import msgspec

    measured, beside, unit = figure.measured, figure.beside, figure.measured_unit
    row: dict[str, Any] = msgspec.to_builtins(figure)
    return row | {
        "ok": figure.ok,
        "result": "PASS" if figure.ok else "FAIL",
        "figure": _with_unit(figure.value, figure.unit),
        "asked": f"{'≥' if figure.at_least else '≤'} {_with_unit(figure.target, figure.unit)}",
        "ours": None if measured is None else f"{measured.median:,.2f} {unit}",
        "theirs": None if beside is None else f"{beside.median:,.2f} {unit}",
        "spread": None if measured is None else f"{measured.least:,.2f} to {measured.most:,.2f}",
    }


def _with_unit(value: float, unit: str) -> str:
    return f"{value:,.2f} ×" if unit == "x" else f"{value:,.1f} {unit}"
