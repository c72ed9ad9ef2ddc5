"""Where the services are put together: settings in, services out. The one composition root."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtctl.cli.framework.context import Context

if TYPE_CHECKING:
    from qtctl.services.base import Service

SERVICES = ("allocation", "governor")

# What a try takes beside its own time-outs: the wait before it (2 s at most), and a bit more on a
# machine on its knees.
TRY_MARGIN_SEC = 5.0


def services(ctx: Context, names: Sequence[str], url: str) -> "list[Service]":
    """These services, each on a connection of its own; nothing is sent yet."""
    from qtctl.services.allocation import AllocationLoop
    from qtctl.services.governor import Governor

    settings = ctx.settings
    made: list[Service] = []
    if "allocation" in names:
        made.append(AllocationLoop(ctx.connection(url), settings.allocation))
    if "governor" in names:
        made.append(
            Governor(
                ctx.connection(url),
                settings.governor,
                allow_eviction=settings.safety.allow_eviction,
            )
        )
    # A try that finds Redis hanging ends by its time-outs: within the deadline, or waiting for
    # Redis would count as hanging too.
    try_sec = settings.redis.connect_timeout_sec + settings.redis.timeout_sec + TRY_MARGIN_SEC
    for service in made:
        service.pass_timeout_sec = max(service.pass_timeout_sec, try_sec)
    return made
