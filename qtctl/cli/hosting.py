"""Where the services are put together: settings in, services out. The one composition root."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtctl.cli.env import Env

if TYPE_CHECKING:
    from qtctl.services.base import Service

SERVICES = ("allocation", "governor")


def services(env: Env, names: Sequence[str], url: str) -> "list[Service]":
    """These services, each on a connection of its own; nothing is sent yet."""
    from qtctl.services.allocation import AllocationLoop
    from qtctl.services.governor import Governor

    settings = env.settings
    made: list[Service] = []
    if "allocation" in names:
        made.append(AllocationLoop(env.connection(url), settings.allocation))
    if "governor" in names:
        made.append(
            Governor(
                env.connection(url),
                settings.governor,
                allow_eviction=settings.safety.allow_eviction,
            )
        )
    return made
