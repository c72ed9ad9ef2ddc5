"""The window that `report`, `replay` and `readiness` are asked for, and the words for it."""

from collections.abc import Iterable, Iterator, Sequence

from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.cli.views.history import gaps_in_words
from qtctl.errors import UsageError
from qtctl.evidence import window as windows
from qtctl.evidence.window import Window
from qtctl.history.reader import History
from qtctl.history.rows import Gap

SYNTHETIC = "synthetic: qtctl simulate made it"


def asked(ctx: Context, history: History, since: str | None, until: str | None) -> Window:
    """The window between --since and --until. Ages count back from the newest record, so that a
    copy gives the same on any day. Errors: UsageError, NotFoundError."""
    low_ms = None
    if since is not None:
        low_ms = int(arguments.when(since, "--since", utc=ctx.utc).on(_now(history)) * 1000)
    high_ms = until_ms(ctx, history, until, low_ms)
    if low_ms is not None and high_ms is not None and low_ms >= high_ms:
        first, last = (format.moment(at / 1000, ctx.utc) for at in (low_ms, high_ms))
        raise UsageError(
            f"--since is later than --until: nothing can lie between {first} and {last}"
        )
    return windows.choose(history, low_ms, high_ms)


def until_ms(
    ctx: Context, history: History, until: str | None, since_ms: int | None = None
) -> int | None:
    """Epoch ms of --until, likewise. Errors: UsageError, NotFoundError."""
    if until is None:
        return None
    begin = None if since_ms is None else since_ms / 1000
    return int(arguments.when(until, "--until", utc=ctx.utc).end(_now(history), begin) * 1000)


def _now(history: History) -> float:
    return windows.end_ms(history) / 1000


def symbols(given: Iterable[str] | None) -> tuple[str, ...]:
    """Symbols of a repeatable option, also with commas; empty for none given."""
    parts = [part.strip() for text in given or () for part in text.split(",")]
    return arguments.symbols(parts, "--symbols")


def describe(ctx: Context, window: Window, gaps: Sequence[Gap]) -> Iterator[str]:
    """The window in words: its ends, what it lacks, and whether it was made up."""
    first, last = (format.moment(at / 1000, ctx.utc) for at in (window.since_ms, window.until_ms))
    yield f"{first} to {last}, {format.span(window.hours * 3600)}"
    if window.asked_ms is not None and window.since_ms - window.asked_ms > 60_000:
        yield "the history begins there: what was before is unknown"
    if window.synthetic:
        yield SYNTHETIC
    yield gaps_in_words(gaps) or "no gaps"
