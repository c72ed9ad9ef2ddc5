"""The synthetic market in real time, into a Redis: targets and scores as inject writes them
(marked, and removed by `inject clear`), plans on the stream, permits taken as the Apply Layer
takes them."""

import random
from datetime import UTC, datetime

import msgspec

from qtctl.errors import RefusedError, WireError
from qtctl.simulate.market import Market
from qtctl.simulate.publishers import Publishers
from qtctl.wire.client.store import Store
from qtctl.wire.control import injection, permits
from qtctl.wire.schema.keys import EFFICIENCY, TARGET

SOURCE = "qtctl-simulate"
"""In each plan; targets and scores have mode synthetic and this as their version."""
TARGET_TTL_SEC, SCORE_TTL_SEC = 300, 600
TAKE_AFTER_MS = 300
"""The Apply Layer polls for a permit for about so long."""


class Written(msgspec.Struct):
    """What was written so far."""

    targets: int = 0
    scores: int = 0
    plans: int = 0
    taken: int = 0


class LiveMarket:
    """Writes what the market says, `speed` times as fast as time goes by. force: also over targets
    and scores that are not synthetic."""

    def __init__(
        self,
        store: Store,
        market: Market,
        publishers: Publishers,
        *,
        start_ms: int,
        speed: float,
        take: float,
        force: bool,
    ) -> None:
        self._store, self._market, self._publishers = store, market, publishers
        self._start_ms, self._speed, self._take, self._force = start_ms, speed, take, force
        self._noise = random.Random(start_ms)
        self._waiting: list[tuple[int, str]] = []
        self.written = Written()

    def begin(self) -> None:
        """Writes all targets and scores. Errors: RefusedError where one is not ours."""
        self._write([*range(len(self._market.names))], self._start_ms)
        self._publishers.until(self._start_ms)

    def step(self, now_ms: int) -> None:
        """What has become due by now, epoch ms on the server's clock. Errors: RedisUnreachable,
        RefusedError, WireError."""
        there = self._start_ms + int((now_ms - self._start_ms) * self._speed)
        self._write(self._market.advance(there), now_ms)
        for sent in self._publishers.until(there):
            self._send(sent.fields, now_ms)
        self._take_due(now_ms)

    def _write(self, places: list[int], now_ms: int) -> None:
        keys, market = self._store.keys, self._market
        marks = {"mode": "synthetic", "version": SOURCE}
        targets = {
            keys.at(TARGET, market.names[place]): {
                "target_usd": market.targets[place], "confidence": "0.8",
                "timestamp": str(now_ms // 1000), **marks,
            }
            for place in places
        }  # fmt: skip
        scores = {
            keys.at(EFFICIENCY, market.names[place]): _fresh(market.score_of(place), now_ms) | marks
            for place in places
        }
        refused = injection.cover_many(self._store, targets, TARGET_TTL_SEC, force=self._force)
        refused += injection.cover_many(self._store, scores, SCORE_TTL_SEC, force=self._force)
        self.written.targets += len(targets)
        self.written.scores += len(scores)
        if refused:
            raise RefusedError(
                f"{refused[0]} (and {len(refused) - 1} more) hold what simulate did not write; "
                "use another Redis (--redis-url embedded:), or --force, after which 'qtctl inject "
                "clear' restores it"
            )

    def _send(self, fields: dict[str, str], now_ms: int) -> None:
        source = fields.get("source", "")
        sent = fields | {"source": f"{SOURCE}/{source}" if source else SOURCE}
        sent["timestamp"] = f"{now_ms / 1000:.3f}"
        injection.send_plan(self._store, sent)
        self.written.plans += 1
        if self._noise.random() < self._take:
            self._waiting.append((now_ms + TAKE_AFTER_MS, sent["plan_id"]))

    def _take_due(self, now_ms: int) -> None:
        due = [plan_id for at, plan_id in self._waiting if at <= now_ms]
        self._waiting = [each for each in self._waiting if each[0] > now_ms]
        for plan_id in due:
            try:
                self.written.taken += permits.take_permit(self._store, plan_id) is not None
            except WireError:
                continue  # No permit of ours.


def _fresh(score: dict[str, str], now_ms: int) -> dict[str, str]:
    """A score with its own kind of time, now."""
    if "ts" in score:
        return score | {"ts": str(now_ms // 1000)}
    if "T" in score.get("timestamp", ""):
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        return score | {"timestamp": moment.isoformat(timespec="milliseconds")}
    return score | {"timestamp": f"{now_ms / 1000:.3f}"}
