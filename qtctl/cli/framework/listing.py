"""What a command line asks of a list: how many rows, which, which columns, in which order, how
often. The options that ask it are in `list_options`, which no help page of another command needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from qtctl.errors import UsageError

if TYPE_CHECKING:
    from qtctl.cli.framework.arguments import When

FILTERS = {
    "verdict": "Only this verdict; repeatable.",
    "kind": "Only opens, or only closes.",
    "reason": "Only this reason; repeatable.",
}
"""The options that filter by a word, and their help."""


class Where(NamedTuple):
    """A condition on a field, of `--where`; differs: for `FIELD!=VALUE`."""

    field: str
    value: str
    differs: bool = False


class Order(NamedTuple):
    """A column that rows are sorted by."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class Listing:
    """What a command line asks of a list."""

    offered: bool = False
    """The command has these options."""
    limit: int | None = None
    """Rows, None for all."""
    default_limit: bool = False
    """Nobody asked for this limit: where it leaves rows out, that is reported."""
    columns: tuple[str, ...] = ()
    """Names, empty for the usual ones."""
    wide: bool = False
    order: tuple[Order, ...] = ()
    where: tuple[Where, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Allowed words by filter (verdict, kind, reason)."""
    since: "When | None" = None
    until: "When | None" = None
    after: float | None = None
    """Epoch seconds, once `Context.window` knows the time by the server."""
    before: float | None = None
    watch_sec: float | None = None

    @property
    def filtered(self) -> bool:
        """True if rows may be left out for what they are."""
        return bool(self.where or self.only or self.since or self.until)

    def only_also(self, name: str, *words: str) -> "Listing":
        """The same where only these words of a filter count, beside those asked for."""
        return replace(self, only={**self.only, name: (*self.only.get(name, ()), *words)})

    def on(self, now: float) -> "Listing":
        """The same with its times as they are at this now. Errors: UsageError for a window that
        ends before it begins."""
        after = None if self.since is None else self.since.on(now)
        before = None if self.until is None else self.until.end(now, after)
        if after is not None and before is not None and after > before:
            raise UsageError("--since is later than --until: nothing can lie between")
        return replace(self, after=after, before=before)
