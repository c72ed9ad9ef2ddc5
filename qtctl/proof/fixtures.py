"""The actors of a run: symbols and plans of its own, what they write, and its removal.

Every run has names that no other has, so that two at once do not disturb each other, and nothing
of a real symbol is ever touched. Source: docs/proofs.md.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from qtctl.proof.scenarios import BASE_USD, Scenario
from qtctl.wire.client.pipe import Command
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
"""The inputs expire after this, whatever happens to the proof."""
SOURCE = "qtctl-proof"
PLAN = {
    "decision": "EXECUTE",
    "kill_score": "0.1",
    "qty": "0",
    "source": SOURCE,
}
CLOSE = {"action": "FULL_CLOSE_PROPOSED", "side": "CLOSE", "reduceOnly": "true"}
"""On a live system: a plan that can't open anything."""
OPEN = {"action": "OPEN_PROPOSED", "side": "BUY", "qty": "0.001", "price": "100"}
"""In the sandbox: the whole way, through every gate."""


class Subject(msgspec.Struct, frozen=True):
    """One data scenario with its own symbol (and plan)."""

    scenario: Scenario
    symbol: str
    plan_id: str


class Fixtures:
    """All actors of a run, on one Redis."""

    def __init__(self, store: Store, scenarios: Sequence[Scenario], *, live: bool) -> None:
        self._store = store
        self._live = live
        run = secrets.token_hex(4)
        self.actors = tuple(
            Subject(scenario, f"QTPROOF{run.upper()}{number}USDT", f"qtproof-{run}-{number}")
            for number, scenario in enumerate(scenarios)
            if scenario.what == "data"
        )
        self._begin_ids: dict[str, str] = {}
        self._plan_entries: dict[str, str] = {}

    def of(self, scenario: Scenario) -> Subject:
        """The actor of a data scenario."""
        return next(actor for actor in self.actors if actor.scenario is scenario)

    def names(self) -> str:
        """What it will write, for a person to agree to."""
        return ", ".join(actor.symbol for actor in self.actors)

    def write_inputs(self) -> None:
        """Targets and scores. Errors: RedisUnreachable, WireError."""
        store, now = self._store, self._store.now_ms() // 1000
        for stream in self._streams():
            newest = store.run("XREVRANGE", stream, "+", "-", "COUNT", 1)
            self._begin_ids[stream] = text(newest[0][0]) if newest else "0-0"
        commands: list[Command] = []
        for actor in self.actors:
            given = actor.scenario.given
            if actor.scenario.step == "step1":
                commands += self._hash(
                    TARGET, actor, "target_usd", BASE_USD, "confidence", "0.8",
                    "timestamp", now, "mode", SOURCE,
                )  # fmt: skip
            if given is not None:
                commands += self._hash(
                    EFFICIENCY, actor, "efficiency_score", given.score,
                    "confidence", given.confidence, "mode", SOURCE, "version", SOURCE,
                    "ts", now - given.age_sec,
                )  # fmt: skip
        # One step: an input without a lifetime must not survive us.
        for reply in store.batch(commands, atomic=True):
            if isinstance(reply, Exception):
                raise reply

    def send_plans(self) -> None:
        """One plan for each actor of step 2. Errors: RedisUnreachable, WireError."""
        kind = CLOSE if self._live else OPEN
        for actor in self.actors:
            if actor.scenario.step != "step2":
                continue
            fields = {
                "plan_id": actor.plan_id,
                "symbol": actor.symbol,
                "timestamp": str(self._store.now_ms() // 1000),
            }
            fields |= PLAN | kind
            flat = [part for pair in fields.items() for part in pair]
            entry_id = self._store.run("XADD", self._store.keys.plans, "*", *flat)
            self._plan_entries[actor.plan_id] = text(entry_id)

    def proposals(self) -> dict[str, dict[str, str]]:
        """The latest stream entry of each symbol since the inputs were written."""
        found: dict[str, dict[str, str]] = {}
        symbols = {actor.symbol for actor in self.actors}
        for _, fields in self._since(self._store.keys.proposed_stream):
            if fields.get("symbol") in symbols:
                found[fields["symbol"]] = fields
        return found

    def remove(self, after_inputs: Callable[[], None]) -> None:
        """Removes every key and entry of this run: inputs first, then (once a pass that may
        still be under way is over: after_inputs) what was made from them."""
        store, at = self._store, self._store.keys.at
        symbols = [actor.symbol for actor in self.actors]
        inputs = [at(spec, symbol) for symbol in symbols for spec in (TARGET, EFFICIENCY)]
        entries = list(self._plan_entries.values())
        store.batch([("DEL", *inputs), *self._plan_removal(entries)])
        try:
            after_inputs()
        finally:
            plan_ids = [actor.plan_id for actor in self.actors]
            keys = [at(spec, id_) for id_ in plan_ids for spec in (PERMIT, DECISION, BLOCK)]
            keys += [
                at(spec, symbol) for symbol in symbols for spec in (PROPOSED, LEDGER, LAST_CLOSE)
            ]
            commands: list[Command] = [("DEL", *keys), *self._plan_removal(entries)]
            for index in (store.keys.permits, store.keys.ledger_total):
                commands.append(("ZREM", index, *plan_ids))
            for stream in self._streams():
                mine = [id_ for id_, fields in self._since(stream) if self._is_ours(fields)]
                if mine:
                    commands.append(("XDEL", stream, *mine))
            store.batch(commands)
            # A stream that is empty now, and that no group reads, was made for proofs alone.
            store.scripts("drop_empty", [((stream,), ()) for stream in self._streams()])

    def _plan_removal(self, entries: Sequence[str]) -> list[Command]:
        if not entries:
            return []
        plans = self._store.keys.plans
        return [("XDEL", plans, *entries), ("XACK", plans, GROUP, *entries)]

    def _is_ours(self, fields: dict[str, str]) -> bool:
        return (
            any(fields.get("symbol") == actor.symbol for actor in self.actors)
            or any(fields.get("plan_id") == actor.plan_id for actor in self.actors)
            or fields.get("entry_id") in self._plan_entries.values()
        )

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

    def _hash(self, spec: Any, actor: Subject, *fields: Any) -> tuple[Command, Command]:
        key = self._store.keys.at(spec, actor.symbol)
        return ("HSET", key, *fields), ("EXPIRE", key, TTL_SEC)
