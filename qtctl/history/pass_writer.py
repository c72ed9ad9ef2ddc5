"""Passes on their way into a day's file: each at once in a block of its own, and some time later
together with others in one that takes far less room.

A block of its own is whole, so that nothing has to be remembered between two passes, or across a
crash; it is called open until its pass has moved.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from qtctl.domain.passes import Columns
from qtctl.history import blocks
from qtctl.history.blocks import MAX_PASSES, BlockMaker
from qtctl.history.damage import Damaged
from qtctl.history.ids import keyed, packed
from qtctl.history.rows import PassEntry

MAX_OPEN_ROWS = 300_000
"""So many rows are in open blocks at most, however few passes that is."""


class _Member(msgspec.Struct, frozen=True):
    """A pass that goes into a block. entry: None where the file has it already, under that number
    and in that open block."""

    entry: PassEntry | None = None
    number: int = 0
    block: int = 0


class PassWriter:
    """Adds passes to a day's file, within a transaction of its owner. word: gives the number of a
    text; give_way: called before each column, may wait."""

    def __init__(
        self, db: sqlite3.Connection, word: Callable[[str], int], give_way: Callable[[], None]
    ) -> None:
        self._db, self._word, self._give_way = db, word, give_way

    def add(self, entries: Iterable[PassEntry]) -> int:
        """How many were new."""
        new = [each for each in entries if not self._known(each)]
        if not new:
            return 0
        passes, rows = self._open()
        rows += sum(len(each.value.columns) for each in new)
        if passes + len(new) >= MAX_PASSES or rows >= MAX_OPEN_ROWS:
            self._gather(new, finish=rows >= MAX_OPEN_ROWS)
        else:
            for entry in new:
                self._add_open(entry)
        return len(new)

    def finish(self) -> None:
        """Leaves no block open."""
        self._gather((), finish=True)

    def _known(self, entry: PassEntry) -> bool:
        found = self._db.execute("SELECT 1 FROM passes WHERE id = ?", (packed(entry.id),))
        return found.fetchone() is not None

    def _open(self) -> tuple[int, int]:
        """How many passes and rows are in open blocks."""
        found = self._db.execute("SELECT count(*), total(rows) FROM blocks WHERE open = 1")
        passes, rows = found.fetchone()
        return passes, int(rows)

    def _gather(self, new: Sequence[PassEntry], *, finish: bool) -> None:
        """Packs open blocks and new passes together; what does not fill a block stays open, or is
        one where `finish` says so."""
        maker, members = BlockMaker(self._give_way), list[_Member]()
        added = ((_Member(entry), entry.value.columns) for entry in new)
        for member, columns in chain(self._opened(), added):
            maker.add(columns)
            members.append(member)
            if maker.full:
                self._close(maker, members)
                maker, members = BlockMaker(self._give_way), []
        if finish and members:
            self._close(maker, members)
        else:
            for member in members:
                if member.entry is not None:
                    self._add_open(member.entry)

    def _opened(self) -> Iterator[tuple[_Member, Columns]]:
        found = self._db.execute(
            "SELECT p.id, b.id, b.frames FROM blocks b JOIN passes p ON p.block = b.id "
            "WHERE b.open = 1 ORDER BY p.id"
        ).fetchall()
        for number, block, frames in found:
            try:
                (changes,) = blocks.read(frames, self._give_way)
            except (Damaged, ValueError):
                # Whoever reads it will say so; it is not tried again.
                self._db.execute("UPDATE blocks SET open = 0 WHERE id = ?", (block,))
            else:
                yield _Member(None, number, block), changes.columns

    def _add_open(self, entry: PassEntry) -> None:
        maker = BlockMaker(self._give_way)
        maker.add(entry.value.columns)
        self._add_pass(entry, self._add_block(maker, is_open=True), 0)

    def _close(self, maker: BlockMaker, members: Sequence[_Member]) -> None:
        block = self._add_block(maker, is_open=False)
        for place, member in enumerate(members):
            if member.entry is not None:
                self._add_pass(member.entry, block, place)
                continue
            self._db.execute(
                "UPDATE passes SET block = ?, place = ? WHERE id = ?", (block, place, member.number)
            )
            self._db.execute("DELETE FROM blocks WHERE id = ?", (member.block,))

    def _add_block(self, maker: BlockMaker, *, is_open: bool) -> int:
        row = (maker.passes, maker.rows, int(is_open), maker.block(quick=is_open))
        done = self._db.execute(
            "INSERT INTO blocks (passes, rows, open, frames) VALUES (?, ?, ?, ?)", row
        )
        return done.lastrowid or 0

    def _add_pass(self, entry: PassEntry, block: int, place: int) -> None:
        value, word = entry.value, self._word
        self._db.execute(
            "INSERT INTO passes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *keyed(entry.id), value.ts_ms, value.number, word(value.instance),
                word(value.version), word(value.rules), value.symbols, block, place,
            ),
        )  # fmt: skip
