"""The inputs of a run: symbols and plans of its own, what is written for them, and its removal.

Every run has names that no other has, so that two at once do not disturb each other, and no real
symbol is ever touched.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from qtctl.domain.names import PROOF_SYMBOLS
from qtctl.proof.scenarios import BASE_USD, Scenario
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import (
    BLOCK,
    DECISION,
    EFFICIENCY,
    GROUP,
    LAST_CLOSE,
    LEDGER,
    PERMIT,
    PROPOSED,
    TARGET,
)
from qtctl.wire.schema.records import pairs, text

TTL_SEC = 300
"""Its inputs are gone then, even if the proof was killed."""
SOURCE = "qtctl-proof"
PLAN = {"decision": "EXECUTE", "kill_score": "0.1", "qty": "0", "source": SOURCE}
CLOSE = {"action": "FULL_CLOSE_PROPOSED", "side": "CLOSE", "reduceOnly": "true"}
"""On a live system: a plan that can't open anything."""
OPEN = {"action": "OPEN_PROPOSED", "side": "BUY", "qty": "0.001", "price": "100"}
"""In the sandbox: an open, through every gate."""


class Subject(msgspec.Struct, frozen=True):
    """One data scenario with its own symbol (and plan)."""

    scenario: Scenario
    symbol: str
    plan_id: str


class Fixtures:
    """All subjects of a run, on one Redis."""

    def __init__(self, store: Store, scenarios: Sequence[Scenario], *, live: bool) -> None:
        self._store = store
        self._live = live
        run = secrets.token_hex(4)
        self.subjects = tuple(
            Subject(
                scenario, f"{PROOF_SYMBOLS}{run.upper()}{number}USDT", f"qtproof-{run}-{number}"
            )
            for number, scenario in enumerate(scenarios)
            if scenario.what == "data"
        )
        self._begin_ids: dict[str, str] = {}
        self._plan_entries: dict[str, str] = {}

    def names(self) -> str:
        """The symbols that it will write, for a person to confirm."""
        return ", ".join(subject.symbol for subject in self.subjects)

    def write_inputs(self) -> None:
        """Targets and scores. Errors: RedisUnreachable, WireError."""
        store, now = self._store, self._store.now_ms() // 1000
        for stream in self._streams():
            newest = store.run("XREVRANGE", stream, "+", "-", "COUNT", 1)
            self._begin_ids[stream] = text(newest[0][0]) if newest else "0-0"
        commands: list[Command] = []
        for subject in self.subjects:
            given = subject.scenario.given
            if subject.scenario.step == "step1":
                commands += self._hash(
                    TARGET, subject, "target_usd", BASE_USD, "confidence", "0.8",
                    "timestamp", now, "mode", SOURCE,
                )  # fmt: skip
            if given is not None:
                commands += self._hash(
                    EFFICIENCY, subject, "efficiency_score", given.score,
                    "confidence", given.confidence, "mode", SOURCE, "version", SOURCE,
                    "ts", now - given.age_sec,
                )  # fmt: skip
        # One step: an input without a lifetime must not survive us.
        for reply in store.batch(commands, atomic=True):
            if isinstance(reply, Exception):
                raise reply

    def send_plans(self) -> None:
        """One plan for each subject of step 2. Errors: RedisUnreachable, WireError."""
        kind = CLOSE if self._live else OPEN
        for subject in self.subjects:
            if subject.scenario.step != "step2":
                continue
            at = str(self._store.now_ms() // 1000)
            fields = {"plan_id": subject.plan_id, "symbol": subject.symbol, "timestamp": at}
            fields |= PLAN | kind
            flat = [part for pair in fields.items() for part in pair]
            entry_id = self._store.run("XADD", self._store.keys.plans, "*", *flat)
            self._plan_entries[subject.plan_id] = text(entry_id)

    def proposals(self) -> dict[str, dict[str, str]]:
        """The latest stream entry of each symbol since the inputs were written."""
        symbols = {subject.symbol for subject in self.subjects}
        since = self._since(self._store.keys.proposed_stream)
        return {each["symbol"]: each for _, each in since if each.get("symbol") in symbols}

    def remove_inputs(self) -> None:
        """Delete targets, scores and plans. Errors: RedisUnreachable."""
        at = self._store.keys.at
        inputs = [at(spec, each.symbol) for each in self.subjects for spec in (TARGET, EFFICIENCY)]
        self._store.batch([("DEL", *inputs), *self._plan_removal()])

    def remove_results(self) -> None:
        """Delete what the services made of the inputs. Errors: RedisUnreachable."""
        store, at = self._store, self._store.keys.at
        plan_ids = [subject.plan_id for subject in self.subjects]
        keys = [at(spec, id_) for id_ in plan_ids for spec in (PERMIT, DECISION, BLOCK)]
        per_symbol = (PROPOSED, LEDGER, LAST_CLOSE)
        keys += [at(spec, each.symbol) for each in self.subjects for spec in per_symbol]
        commands: list[Command] = [("DEL", *keys), *self._plan_removal()]
        # Its plans are closes, which no ledger counts.
        commands.append(("ZREM", store.keys.permits, *plan_ids))
        for stream in self._streams():
            mine = [id_ for id_, fields in self._since(stream) if self._is_ours(fields)]
            if mine:
                commands.append(("XDEL", stream, *mine))
        store.batch(commands)
        # A stream that is empty now, and that no group reads, was made for proofs alone.
        store.scripts("drop_empty", [((stream,), ()) for stream in self._streams()])

    def _plan_removal(self) -> list[Command]:
        if not self._plan_entries:
            return []
        plans, entries = self._store.keys.plans, self._plan_entries.values()
        return [("XDEL", plans, *entries), ("XACK", plans, GROUP, *entries)]

    def _is_ours(self, fields: dict[str, str]) -> bool:
        ours = {name for each in self.subjects for name in (each.symbol, each.plan_id)}
        seen = {fields.get(name) for name in ("symbol", "plan_id", "entry_id")}
        return not seen.isdisjoint(ours | set(self._plan_entries.values()))

    def _streams(self) -> tuple[str, ...]:
        keys = self._store.keys
        return (keys.proposed_stream, keys.plans, keys.events, keys.rejected)

    def _since(self, stream: str) -> Iterator[tuple[str, dict[str, str]]]:
        begin = self._begin_ids.get(stream)
        while begin is not None:
            page = self._store.run("XRANGE", stream, f"({begin}", "+", "COUNT", 1000)
            for id_, raw in page:
                yield text(id_), pairs(raw)
            begin = text(page[-1][0]) if len(page) == 1000 else None
            assert begin is None or order(begin) > (0, 0)

    def _hash(self, spec: Any, subject: Subject, *fields: Any) -> tuple[Command, Command]:
        key = self._store.keys.at(spec, subject.symbol)
        return ("HSET", key, *fields), ("EXPIRE", key, TTL_SEC)
