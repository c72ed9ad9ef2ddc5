"""Whether this database is the wrong one: empty, while the services work in another."""

import re
from collections.abc import Mapping

import msgspec

from qtctl.errors import QtctlError
from qtctl.settings import SERVICES
from qtctl.settings.urls import database_of, with_database
from qtctl.wire.client.store import Store
from qtctl.wire.queries.services import Walk

_DATABASE = re.compile(r"^db([0-9]+):keys=([0-9]+)", re.MULTILINE)
MOST = 3
"""Other databases that are looked into, those with the most keys first."""
WALK_SEC = 0.03


class Elsewhere(msgspec.Struct, frozen=True):
    """A database without a trace of the loops. number: its own; keys: how many it has; home: the
    database where there are services, or the plan stream, None where none was found; services: that
    it has records of services; others: every other database and its keys."""

    number: int
    keys: int
    home: int | None
    services: bool
    others: Mapping[int, int]


def look(store: Store, info: str) -> Elsewhere | None:
    """Where else the loops may be; info: the reply to INFO. None where there is but one database.
    Another connection is made for each that is looked into. Errors: RedisUnreachable."""
    sizes = {int(number): int(keys) for number, keys in _DATABASE.findall(info)}
    url = store.server_url()
    own = database_of(url)
    keys = sizes.pop(own, 0)
    if not sizes:
        return None
    largest = sorted(sizes, key=lambda number: -sizes[number])[:MOST]
    looked = {number: _look_into(store.to_url(with_database(url, number))) for number in largest}
    homes = [number for number in largest if looked[number]]
    home = min(homes, key=lambda number: looked[number] != "services", default=None)
    return Elsewhere(own, keys, home, home is not None and looked[home] == "services", sizes)


def _look_into(other: Store) -> str:
    """`services`, `plans`, or "" for nothing of ours; what may not be looked at is nothing."""
    try:
        walk = Walk(other, SERVICES)
        walk.go_on(WALK_SEC)
        if walk.found:
            return "services"
        return "plans" if other.run("EXISTS", other.keys.plans) else ""
    except QtctlError:
        return ""
    finally:
        other.close()
