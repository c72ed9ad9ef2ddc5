"""Running the proofs: on what, with whose consent, and what is shown and written of the results."""

import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qtctl import __version__, source
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import agreed
from qtctl.cli.output import Rows, emit_one, verdict_style
from qtctl.cli.output.columns import age, text
from qtctl.errors import RefusedError
from qtctl.proof import reports
from qtctl.proof.environment import Environment, Live, sandbox
from qtctl.proof.results import Report, ScenarioResult
from qtctl.proof.running import Run
from qtctl.proof.scenarios import SERVICE_OF
from qtctl.settings import display_url, public
from qtctl.settings.environment import CONTEXT

Settings = dict[str, tuple[Any, str]]
"""section.key to value and origin."""
SCENARIOS = (
    text("scenario", "id"),
    text("result", "result", style=verdict_style),
    text("checks", "checks", right=True, drop=1),
    text("seen", "seen", fold=True),
    age("after", "took", drop=2),
)
CHECKS = (
    text("", lambda check: _result(check.ok), style=verdict_style),
    text("what", "what", fold=True),
    text("expected", "expected", fold=True),
    text("seen", "actual", fold=True),
)


def conduct(
    ctx: Context,
    steps: Sequence[str],
    *,
    live: bool = False,
    host_redis: bool = False,
    yes: bool = False,
    no_input: bool = False,
) -> tuple[Report, dict[str, Any]]:
    """Run the scenarios of these steps: what they found, and what a report says of where that
    was."""
    with _environment(ctx, steps, live=live, host_redis=host_redis) as environment:
        settings = _settings(ctx, environment, steps)
        proof = Run(environment, steps, settings, lambda result: _progress(ctx, result))
        if live:
            names = proof.fixtures.names()
            ctx.announce(
                f"proving the running services with symbols of our own: {names}", dry_run=True
            )
            ctx.say("Closing plans of quantity 0 for them, marked qtctl-proof; all removed after.")
            agreed(ctx, "Go on?", yes=yes, no_input=no_input)
        with _interrupted_by_sigterm():
            found = proof()
        return found, _about(environment, settings)


@contextmanager
def _environment(
    ctx: Context, steps: Sequence[str], *, live: bool, host_redis: bool
) -> Iterator[Environment]:
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
    # A private server is always empty at first.
    sets = [*ctx.sets, "safety.start_halted=false"]
    if ctx.loaded.context is not None:  # which a service does not take
        sets.append(f"redis.prefix={ctx.settings.redis.prefix}")
    options += [part for each in sets for part in ("--set", each)]
    environ = {name: ctx.environ[name] for name in ctx.environ if name != CONTEXT}
    with sandbox(steps, options, environ, ctx.keys(), host_redis=host_redis) as environment:
        yield environment


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a proof as Ctrl-C does: with everything removed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_IGN:  # as it was from the start
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(ctx: Context, environment: Environment, steps: Sequence[str]) -> Settings:
    """Every setting in force with its origin, so that a failure can name the one behind it; live
    those that the running service reports, since a shell lacks its environment."""
    found: Settings = {}
    for step in steps:
        name = SERVICE_OF[step]
        alive = environment.service(step) if environment.live else None
        reported = {} if alive is None else alive.settings
        for key, own in public(getattr(ctx.settings, name)).items():
            path = f"{name}.{key}"
            found[path] = (own, ctx.loaded.origins[path])
            if key in reported:
                found[path] = (reported[key], f"the running {name}")
    return found


def _progress(ctx: Context, result: ScenarioResult) -> None:
    """A line on stderr for each scenario as it ends."""
    if ctx.output == "table":
        mark = "✅" if result.passed else "❌"
        ctx.say(f"{mark} {result.step} {result.id}: {result.title} ({result.duration_s:.1f} s)")


def show(ctx: Context, found: Report) -> None:
    """Print a table for each step, the checks of what failed, and the summary line."""
    parts = [
        Rows([_row(result) for result in found.of(step)], SCENARIOS, title=step)
        for step in found.steps()
    ]
    parts += [
        Rows(result.checks, CHECKS, title=f"{result.step} {result.id}: what was checked")
        for result in found.results
        if not result.passed
    ]
    emit_one(ctx, found.as_json(), *parts)
    for note in dict.fromkeys(result.note for result in found.results if result.note):
        ctx.say(note)
    if ctx.output == "table":
        sys.stdout.write(f"\n{found.summary}\n")


def write(ctx: Context, directory: Path, found: Report, about: dict[str, Any]) -> None:
    """Write the files of a report, and name them on stderr."""
    for path in reports.write(directory, found, about):
        ctx.say(f"wrote {path}")


def _result(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def _row(result: ScenarioResult) -> dict[str, Any]:
    passed = sum(check.ok for check in result.checks)
    return {
        "id": result.id,
        "result": _result(result.passed),
        "checks": f"{passed} of {len(result.checks)}",
        "seen": _seen(result),
        "took": result.duration_s,
    }


def _seen(result: ScenarioResult) -> str:
    """What distinguishes one scenario from another, as it was read back."""
    telling = ("multiplier", "reason", "eff_action", "eff_factor", "eff_reason")
    seen = {check.what.rpartition(" ")[2]: check.actual for check in result.checks}
    words = [f"{name.removeprefix('eff_')} {seen[name]}" for name in telling if name in seen]
    return ", ".join(words) or result.title


def _about(environment: Environment, settings: Settings) -> dict[str, Any]:
    """What a report must say of its surroundings: version, settings, server, host."""
    server = environment.store.server()
    return {
        "version": __version__,
        "commit": source.commit(),
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
