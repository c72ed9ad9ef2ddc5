"""The codec of passes: a block holds some passes in a row, the first one in full, the others as
what changed since the one before. Each block can be read alone.

Within a block each column stands in one piece for all its passes, which packs better and is read
faster than pass by pass. The order of a pass's symbols means nothing and is not kept; a symbol
keeps its row for as long as it is in every pass.

Layout: a msgpack list of the version, the number of passes, then per pass how many symbols went,
came and changed, then the sections: positions that went, names that came, positions that changed,
and the other columns for the changed rows followed by those that came.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from qtctl.domain.passes import COLUMNS, Columns
from qtctl.history.damage import Damaged
from qtctl.history.sections import Effort, pack_numbers, pack_text, unpack_numbers, unpack_text

_VERSION = 1
_VALUES = COLUMNS[1:]
MAX_PASSES = 120
"""So many passes are in one block at most: 20 minutes of them at the usual interval."""
MAX_ROWS = 15_000
"""So many changed rows are in one block, or four times those of its first pass, give or take the
last one; it bounds the memory that reading a block takes."""
_MAX_SECTION_BYTES = 64 << 20
_MAX_COUNT = 50_000_000


class Changes(msgspec.Struct, frozen=True):
    """A pass read back. columns: all its rows; changed: the positions of those that differ from the
    pass before in the same reading; shifted: rows stand elsewhere than in the pass before, since
    symbols went or all are new, and everything counts as changed."""

    columns: Columns
    changed: Sequence[int]
    shifted: bool


class _Layout(msgspec.Struct, array_like=True):
    version: int
    gone: Sequence[int]
    came: Sequence[int]
    changed: Sequence[int]
    sections: Sequence[bytes]


class BlockMaker:
    """Takes in passes, one after another, and gives the block that holds them."""

    def __init__(self, give_way: Callable[[], None] = lambda: None) -> None:
        self._give_way = give_way
        self._state: list[list[str]] = [[] for _ in COLUMNS]
        self._gone: list[list[int]] = []
        self._came: list[list[str]] = []
        self._changed: list[list[int]] = []
        self._values: list[list[str | None]] = [[] for _ in _VALUES]
        self.passes = self.rows = self._first = 0

    @property
    def full(self) -> bool:
        """True once no further pass should be added."""
        return self.passes >= MAX_PASSES or self.rows >= max(MAX_ROWS, 4 * self._first)

    def add(self, columns: Columns) -> None:
        """One more pass; its columns must be those of a pass, see columns_problem."""
        gone, came, new = self._aligned(columns)
        kept = len(new[0]) - len(came)
        old = _without(self._state, gone)
        changed = self._changed_rows(old, new)
        self._gone.append(gone)
        self._came.append(came)
        self._changed.append(changed)
        for values, before, after in zip(self._values, old[1:], new[1:], strict=True):
            self._give_way()
            values += [None if before[i] == after[i] else after[i] for i in changed]
            values += after[kept:]
        self._state = new
        if not self.passes:
            self._first = len(came)
        self.passes += 1
        self.rows += len(changed) + len(came)

    def _aligned(self, columns: Columns) -> tuple[list[int], list[str], list[list[str]]]:
        """Which rows went, which symbols came, and the pass in the order of the one before."""
        before = self._state[0]
        if not before or columns.symbol == before:
            came = [] if before else columns.symbol
            return [], came, [list(getattr(columns, name)) for name in COLUMNS]
        self._give_way()
        place = {symbol: i for i, symbol in enumerate(columns.symbol)}
        gone = [i for i, symbol in enumerate(before) if symbol not in place]
        stayed = [symbol for symbol in before if symbol in place]
        known = set(stayed)
        came = [symbol for symbol in columns.symbol if symbol not in known]
        order = [place[symbol] for symbol in (*stayed, *came)]
        new = []
        for name in COLUMNS:
            self._give_way()
            values = getattr(columns, name)
            new.append([values[i] for i in order])
        return gone, came, new

    def _changed_rows(self, old: list[list[str]], new: list[list[str]]) -> list[int]:
        """The positions among the rows that stayed where any column differs."""
        found: set[int] = set()
        for before, after in zip(old[1:], new[1:], strict=True):
            self._give_way()
            if before != after:
                pairs = enumerate(zip(before, after, strict=False))
                found.update([i for i, (a, b) in pairs if a != b])
        return sorted(found)

    def block(self, *, quick: bool = False) -> bytes:
        """What was added so far. quick: for a block that is replaced before long.

        Where few rows change, few are read: then a smaller block is worth the time that it takes.
        """
        way, rows = self._give_way, self.passes * len(self._state[0])
        effort: Effort = "quick" if quick else "small" if self.rows * 3 < rows else "usual"
        layout = _Layout(
            _VERSION,
            [len(each) for each in self._gone],
            [len(each) for each in self._came],
            [len(each) for each in self._changed],
            [
                pack_numbers([i for each in self._gone for i in each]),
                pack_text([name for each in self._came for name in each], effort, way),
                pack_numbers([step for each in self._changed for step in _steps(each)]),
                *(pack_text(values, effort, way) for values in self._values),
            ],
        )
        return msgspec.msgpack.encode(layout)


def _without(columns: list[list[str]], gone: Sequence[int]) -> list[list[str]]:
    if not gone:
        return columns
    out = set(gone)
    return [[v for i, v in enumerate(column) if i not in out] for column in columns]


def _steps(positions: Sequence[int]) -> Iterator[int]:
    before = 0
    for position in positions:
        yield position - before
        before = position


def read(raw: bytes, give_way: Callable[[], None] = lambda: None) -> Iterator[Changes]:
    """The passes of a block, in their order. give_way: called before each column is unpacked, may
    wait. Errors: Damaged, also in the midst of them."""
    layout, gone, came, steps, values = _parts(raw, give_way)
    state: list[list[str]] = [[] for _ in COLUMNS]
    g = c = s = v = 0
    for went, new, changes in zip(layout.gone, layout.came, layout.changed, strict=True):
        out = gone[g : g + went]
        names = came[c : c + new]
        changed = list(accumulate(steps[s : s + changes]))
        rows = [column[v : v + changes + new] for column in values]
        g, c, s, v = g + went, c + new, s + changes, v + changes + new
        state = _next_state(state, out, names, changed, rows)
        kept = len(state[0]) - new
        yield Changes(Columns(*state), [*changed, *range(kept, kept + new)], bool(went) or not kept)


def _parts(
    raw: bytes, give_way: Callable[[], None]
) -> tuple[_Layout, Sequence[int], list[str | None], Sequence[int], list[list[str | None]]]:
    try:
        layout = msgspec.msgpack.decode(raw, type=_Layout)
    except msgspec.DecodeError as problem:
        raise Damaged(f"a block can't be read: {problem}") from problem
    if layout.version != _VERSION:
        raise Damaged(f"a block has version {layout.version}, which this qtctl does not know")
    went, came, changed = sum(layout.gone), sum(layout.came), sum(layout.changed)
    if (
        len(layout.sections) != len(COLUMNS) + 2
        or not len(layout.gone) == len(layout.came) == len(layout.changed)
        or min((*layout.gone, *layout.came, *layout.changed), default=0) < 0
        or max(went, came, changed) > _MAX_COUNT
    ):
        raise Damaged("a block's head makes no sense")
    gone, names, steps, *columns = layout.sections

    def unpacked(column: bytes, count: int) -> list[str | None]:
        give_way()
        return unpack_text(column, count, _MAX_SECTION_BYTES)

    return (
        layout,
        unpack_numbers(gone, went),
        unpacked(names, came),
        unpack_numbers(steps, changed),
        [unpacked(column, changed + came) for column in columns],
    )


def _next_state(
    state: list[list[str]],
    gone: Sequence[int],
    names: Sequence[str | None],
    changed: Sequence[int],
    rows: Sequence[list[str | None]],
) -> list[list[str]]:
    """The columns of a pass from those of the one before, which stay as they are."""
    state = _without(state, gone)
    kept = len(state[0])
    if changed and not 0 <= changed[0] <= changed[-1] < kept:
        raise Damaged("a block changes rows that it does not have")
    symbols = state[0] if not names else [*state[0], *_whole(names)]
    following = [symbols]
    count = len(changed)
    for column, values in zip(state[1:], rows, strict=True):
        if count == kept and None not in values:
            following.append(_whole(values))
            continue
        after = column.copy()
        for place, value in zip(changed, values, strict=False):
            if value is not None:
                after[place] = value
        after += _whole(values[count:])
        following.append(after)
    return following


def _whole(values: Sequence[str | None]) -> list[str]:
    found = [each for each in values if each is not None]
    if len(found) != len(values):
        raise Damaged("a block lacks a value of a new symbol")
    return found
