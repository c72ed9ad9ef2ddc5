"""A process that tries to take every permit there is, in an order of its own.

    python -m tests.soak.taker permit_take|apply URL SEED COUNT LOG

Says `ready`, waits for a line on stdin, and writes the plan_ids that it got to its log.
"""

import random
import sys
from pathlib import Path

from qtctl.wire.client.store import Store
from qtctl.wire.control.permits import take_permit
from qtctl.wire.schema.keys import PERMIT, Keys
from tests.soak.consumer import TAKE_THREE

PIPELINE = 20


def main(kind: str, url: str, seed: str, count: str, path: str) -> None:
    """All of them once."""
    ids = [f"single-{number}" for number in range(int(count))]
    random.Random(seed).shuffle(ids)
    store = Store(url, Keys(), timeout_sec=30)
    store.run("PING")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    got = _by_permit_take(store, ids) if kind == "permit_take" else _as_apply(store, ids)
    store.close()
    Path(path).write_text("".join(f"{plan_id}\n" for plan_id in got))


def _by_permit_take(store: Store, ids: list[str]) -> list[str]:
    """One at a time, with the function behind `qtctl permit take`."""
    return [plan_id for plan_id in ids if take_permit(store, plan_id) is not None]


def _as_apply(store: Store, ids: list[str]) -> list[str]:
    """GET three times and DEL three times in one step, some steps at once."""
    head = store.keys.prefix + PERMIT.head
    got = []
    for start in range(0, len(ids), PIPELINE):
        some = ids[start : start + PIPELINE]
        replies = store.batch(
            [
                ("EVAL", TAKE_THREE, 3, head + id_, f"{head}p33:{id_}", f"{head}p26:{id_}")
                for id_ in some
            ]
        )
        got += [id_ for id_, reply in zip(some, replies, strict=True) if reply is not None]
    return got


if __name__ == "__main__":
    main(*sys.argv[1:])
