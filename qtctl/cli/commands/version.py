"""`qtctl version`: what runs here, for a report or a script."""

import platform
from importlib.metadata import version as version_of

from qtctl import __version__
from qtctl.cli.framework import Context, command, new_app
from qtctl.cli.output import Fields, emit_one
from qtctl.cli.output.columns import text

app = new_app("version")
SHOWN = (
    text("qtctl", "version"),
    text("python", "python"),
    text("redis-py", "redis_py"),
    text("platform", "platform"),
)


@command(app)
def version(ctx: Context) -> None:
    """The version of qtctl, of Python, of the Redis client, and the platform. Asks no server.

    Examples:
        qtctl version
        qtctl version -o json
    """
    found = {
        "version": __version__,
        "python": platform.python_version(),
        "redis_py": version_of("redis"),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    emit_one(ctx, found, Fields(SHOWN))
