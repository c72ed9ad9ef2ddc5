"""What redis-py packs the commands with that are sent by it."""

from typing import Any

from redis.connection import HiredisRespSerializer

from qtctl.wire.schema.packing import without_numbers


class Serializer(HiredisRespSerializer):
    """redis-py's own, which is given no number: see `packing`."""

    def pack(self, *args: Any) -> Any:
        return super().pack(*without_numbers(args))
