"""`qtctl proof`: the six-plus-six scenarios, proven from outside."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import NoInput, Yes, agreed
from qtctl.cli.output.columns import age, text
from qtctl.cli.output.render import Rows, emit_one
from qtctl.errors import RefusedError

if TYPE_CHECKING:
    from qtctl.proof.environment import Environment
    from qtctl.proof.results import Report, ScenarioResult

app = new_app("proof")

CHOICES = {"step1": ("step1",), "step2": ("step2",), "all": ("step1", "step2")}


def _style(value: Any) -> str:
    return {"pass": "green", "FAIL": "bold red"}.get(str(value), "")


SCENARIOS = (
    text("scenario", "id"),
    text("result", "result", style=_style),
    text("checks", "checks", right=True, drop=1),
    text("seen", "seen", fold=True),
    age("after", "took", drop=2),
)
CHECKS = (
    text("", "result", style=_style),
    text("what", "what", fold=True),
    text("expected", "expected", fold=True),
    text("seen", "actual", fold=True),
)


@command(app)
def proof(
    ctx: Context,
    step: Annotated[str, typer.Argument(help="step1 (allocation), step2 (governor) or all.")],
    live: Annotated[
        bool, typer.Option("--live", help="Prove the running services, with symbols of our own.")
    ] = False,
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="DIR", help="Also junit.xml, proof.json, report.html."),
    ] = None,
    yes: Yes = False,
    no_input: NoInput = False,
) -> None:
    """Prove the twelve scenarios, six for each loop; 0 is PASS, 1 is FAIL.

    Without --live a private server and services of its own are used. With it the running ones are
    proven, by symbols and closing plans that no other system knows; everything is removed
    afterwards. The expected numbers are fixed, whatever the settings.

    Examples:
        qtctl proof step2
        qtctl proof all --report /tmp/proof
        qtctl proof step1 --live
    """
    arguments.choice(step, "STEP", CHOICES)
    from qtctl.proof.running import Run

    with _environment(ctx, CHOICES[step], live=live) as environment:
        settings = _settings(ctx, environment, CHOICES[step])
        run = Run(environment, CHOICES[step], settings, _narrator(ctx))
        if environment.live:
            _ask(ctx, run.fixtures.names(), yes=yes, no_input=no_input)
        with _interrupted_by_sigterm():
            found = run()
        about = _about(environment, settings) if report is not None else {}
    _print(ctx, found)
    if report is not None:
        _write_reports(ctx, report, found, about)
    if found.failed:
        raise typer.Exit(1)


@contextmanager
def _environment(ctx: Context, steps: Sequence[str], *, live: bool) -> "Iterator[Environment]":
    from qtctl.proof.environment import Live, sandbox

    if live:
        if not ctx.settings.safety.allow_live_proof:
            raise RefusedError(
                "live proofs are turned off here: [safety] allow_live_proof = false "
                f"({ctx.loaded.origins['safety.allow_live_proof']})"
            )
        with ctx.store() as store:
            store.run("PING")
            yield Live(store)
        return
    options = [] if ctx.config is None else ["--config", ctx.config]
    options += [part for each in ctx.sets for part in ("--set", each)]
    with sandbox(steps, options, ctx.environ, ctx.keys()) as environment:
        yield environment


def _ask(ctx: Context, names: str, *, yes: bool, no_input: bool) -> None:
    """Say where and what it will write, and go on only with a yes."""
    ctx.announce(f"proving the running services with symbols of our own: {names}")
    ctx.say("Closing plans of quantity 0 for them, marked qtctl-proof; all removed afterwards.")
    agreed(ctx, "Go on?", yes=yes, no_input=no_input)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a proof as Ctrl-C does: with everything removed."""
    import signal

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(
    ctx: Context, environment: "Environment", steps: Sequence[str]
) -> dict[str, tuple[Any, str]]:
    """Every setting in force with its origin, so that a failure can name the one behind it.

    Live they are those that the running service reports of itself: a shell lacks its environment.
    """
    from qtctl.proof.scenarios import SERVICE_OF
    from qtctl.settings import fields, public

    loaded = ctx.loaded
    found: dict[str, tuple[Any, str]] = {}
    for step in steps:
        name = SERVICE_OF[step]
        own = public(getattr(loaded.settings, name))
        alive = environment.service(step) if environment.live else None
        for field in fields():
            if field.section != name:
                continue
            if alive is not None and field.key in alive.settings:
                found[field.path] = (alive.settings[field.key], f"the running {name}")
            else:
                found[field.path] = (own[field.key], loaded.origins[field.path])
    return found


def _narrator(ctx: Context) -> "Callable[[ScenarioResult], None]":
    """Progress on stderr, a line a scenario as it ends."""

    def tell(result: "ScenarioResult") -> None:
        if ctx.output == "table":
            mark = "✅" if result.passed else "❌"
            ctx.say(f"{mark} {result.step} {result.id}: {result.title} ({result.duration_s:.1f} s)")

    return tell


def _print(ctx: Context, found: "Report") -> None:
    """A table for each step, the checks of what failed, and the summary line."""
    parts: list[Rows] = []
    for step in found.steps():
        parts.append(Rows([_row(result) for result in found.of(step)], SCENARIOS, title=step))
    for result in found.results:
        if not result.passed:
            rows = [
                {"result": "pass" if c.ok else "FAIL", "what": c.what, "expected": c.expected,
                 "actual": c.actual}
                for c in result.checks
            ]  # fmt: skip
            parts.append(Rows(rows, CHECKS, title=f"{result.step} {result.id}: what was checked"))
    emit_one(ctx, found.as_json(), *parts)
    for note in dict.fromkeys(result.note for result in found.results if result.note):
        ctx.say(note)
    if ctx.output == "table":
        sys.stdout.write(f"\n{found.summary}\n")


def _row(result: "ScenarioResult") -> dict[str, Any]:
    passed = sum(check.ok for check in result.checks)
    return {
        "id": result.id,
        "result": "pass" if result.passed else "FAIL",
        "checks": f"{passed} of {len(result.checks)}",
        "seen": _seen(result),
        "took": result.duration_s,
    }


def _seen(result: "ScenarioResult") -> str:
    """What tells one scenario from another, as it was read back."""
    telling = ("multiplier", "reason", "eff_action", "eff_factor", "eff_reason")
    seen = {check.what.rpartition(" ")[2]: check.actual for check in result.checks}
    words = [f"{name.removeprefix('eff_')} {seen[name]}" for name in telling if name in seen]
    return ", ".join(words) or result.title


def _about(environment: "Environment", settings: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """What a report must say of its surroundings: version, settings, server, host."""
    import socket

    from qtctl import __version__
    from qtctl.settings import display_url

    server = environment.store.server()
    return {
        "version": __version__,
        "mode": "live" if environment.live else "sandbox",
        "server": f"{server.name} {server.version}",
        "url": display_url(environment.store.url) if environment.live else "a private server",
        "prefix": environment.store.keys.prefix,
        "host": socket.gethostname(),
        "settings": [
            {"setting": name, "value": value, "origin": origin}
            for name, (value, origin) in settings.items()
        ],
    }


def _write_reports(ctx: Context, directory: str, found: "Report", about: dict[str, Any]) -> None:
    from pathlib import Path

    from qtctl.proof.reports import write

    for path in write(Path(directory), found, about):
        ctx.say(f"wrote {path}")
