"""What a command gets: how to print, and lazily the settings and (for data commands) the store."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtctl import clock
from qtctl.cli.framework import hints, prose
from qtctl.cli.framework.listing import Listing
from qtctl.errors import QtctlError, RedisUnreachable, RefusedError
from qtctl.text import escape

EMBEDDED = "embedded:"

if TYPE_CHECKING:
    # Only for the checker: settings import msgspec, which costs a third of the time of --help.
    from qtctl.settings import Loaded, Settings
    from qtctl.wire.client.connect import Access
    from qtctl.wire.client.store import Store
    from qtctl.wire.schema.keys import Keys


HaltNotice = Callable[[Sequence[Any], bool], str]
"""From the kill keys that are set, and whether times are UTC, to one line about what is stopped."""


@dataclass
class Context:
    """One run of one command: its common options, and what follows from them; files are read at
    the first use of `loaded`."""

    output: str = "table"
    """`table`, `json` or `ndjson`; a command may allow more."""
    utc: bool = True
    numbers: bool = False
    """JSON has numbers where the wire has them as text."""
    pager: bool = True
    """A list on a terminal goes through a pager."""
    debug: bool = False
    listing: Listing = field(default_factory=Listing, repr=False)
    """What is asked of a list."""
    redis_url: str | None = field(default=None, repr=False)
    config: str | None = None
    context: str | None = None
    """The name of `--context`."""
    confirm_context: str | None = None
    sets: tuple[str, ...] = field(default=(), repr=False)
    """`SECTION.KEY=VALUE`, the last one wins."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    service: str | None = None
    """`allocation`, `governor` or `all` in `serve`, which is set before `loaded` is used: the
    METRICS_PORT of an EnvironmentFile counts for that service only."""
    lenient: bool = False
    """Only [redis] must be right, as for `halt`: what is wrong elsewhere is a warning."""
    print_warnings: bool = True
    """Print the warnings about the settings; doctor has them in its report."""
    notice: HaltNotice = field(default=lambda rows, utc: "", repr=False)
    root: Any = field(default=None, repr=False)
    """The whole command line, for completion."""
    confirmed: bool = field(default=False, init=False, repr=False)
    """True once the name of a protected context was given, which answers every question."""
    _halt_reported: str = field(default="", init=False, repr=False)
    _halt_asked_at: float = field(default=float("-inf"), init=False, repr=False)

    @cached_property
    def loaded(self) -> "Loaded":
        """The settings and where they come from; warnings are printed once. Errors: ConfigError."""
        from qtctl import settings

        loaded = settings.load(
            config=Path(self.config) if self.config is not None else None,
            environ=self.environ,
            redis_url=self.redis_url,
            sets=self.sets,
            service=self.service,
            context=self.context,
            lenient=self.lenient,
        )
        for warning in loaded.warnings if self.print_warnings else ():
            self.warn(warning)
        return loaded

    @property
    def settings(self) -> "Settings":
        """The settings in force."""
        return self.loaded.settings

    def where(self) -> str:
        """Where a change would happen: `redis://prod-1/0 quantum:`, without the password, and with
        `(context prod)` behind it where one is in force."""
        from qtctl.settings import display_url

        redis, context = self.settings.redis, self.loaded.context
        named = "" if context is None else f" (context {context.name})"
        return f"{display_url(redis.url)} {redis.prefix}{named}"

    def announce(
        self, action: str, *, dry_run: bool = False, no_input: bool = False, urgent: bool = False
    ) -> None:
        """Say where something is about to change: `[redis://prod-1/0, prefix quantum:] halting`.

        The one gate of all that changes state: in a protected context its name has to be typed
        here, unless it only looks (`dry_run`) or must not wait (`urgent`, a halt). no_input: refuse
        instead of asking. Errors: RefusedError.
        """
        self.confirm(dry_run=dry_run or urgent, no_input=no_input)
        self.say(f"[{self._place()}] {action}")

    @property
    def is_protected(self) -> bool:
        """True if the name of the context in force has to be given before a change."""
        context = self.loaded.context
        return context is not None and context.protected

    def confirm(self, *, dry_run: bool = False, no_input: bool = False) -> None:
        """The question of `announce`, for a command that must not read the clock before it has the
        answer; asked once. Errors: RefusedError."""
        context, given = self.loaded.context, self.confirm_context
        name = "" if context is None else context.name
        if given is not None and given != name:
            there = f"the context {name}" if name else "no context"
            raise RefusedError(
                f"--confirm-context {given}, but {there} is in force ({self._place()}): nothing "
                "was done"
            )
        if not self.is_protected or dry_run or self.confirmed:
            return
        if given is None and (no_input or not sys.stdin.isatty()):
            raise RefusedError(
                f"the context {name} is protected, and there is no terminal to type its name on: "
                f"pass --confirm-context {name} ({self._place()})"
            )
        if given is None:
            self.say(f"[{self._place()}] is protected: type {name} to go on")
            if sys.stdin.readline().strip() != name:
                raise RefusedError(f"not done: the answer was not {name}")
        self.confirmed = True

    def _place(self) -> str:
        """`context prod, redis://prod-1/0, prefix quantum:`, without the password."""
        from qtctl.settings import display_url

        redis, context = self.settings.redis, self.loaded.context
        named = "" if context is None else f"context {context.name}, "
        return f"{named}{display_url(redis.url)}, prefix {redis.prefix}"

    @contextmanager
    def store(self, *, notice: bool = True) -> "Iterator[Store]":
        """A connection by the settings in force, closed at the end; before that stderr says what
        the kill switch stops (`notice`), also where the command ends in an error. Errors:
        RedisUnreachable from the first command on; for `embedded:` at once where no server runs."""
        store = self.connection(self.url())
        try:
            try:
                yield store
            except Exception as problem:
                # Not at Ctrl-C: a reply may be half read then.
                if notice:
                    self.report_halt(store)
                better = hints.explained(self.loaded, problem)
                if better is not None:
                    raise better from problem
                raise
            if notice:
                self.report_halt(store)
        finally:
            store.close()

    def report_halt(self, store: "Store", every_sec: float = 0.0) -> None:
        """One line on stderr about what is stopped, and by whom, whenever that has changed;
        asked on a connection that stands, not more often than every_sec. What can't be read is
        not reported."""
        now = clock.monotonic()
        if not store.connected or now - self._halt_asked_at < every_sec:
            return
        self._halt_asked_at = now
        from qtctl.settings.rules import rules_from
        from qtctl.wire.control import kill_switch
        from qtctl.wire.schema.kill_names import KillNames

        try:
            rows = kill_switch.read(store, rules_from(self.settings.governor, KillNames))
        except QtctlError:
            return
        line = self.notice(rows, self.utc)
        if line != self._halt_reported:
            self.say(f"qtctl: {line or 'nothing is halted any more'}")
        self._halt_reported = line

    def window(self, store: "Store") -> Listing:
        """What is asked of a list, with --since and --until by the server's clock, which is not
        asked without them; from then on `listing` has that."""
        if self.listing.since is not None or self.listing.until is not None:
            self.listing = self.listing.on(store.now_ms() / 1000)
        return self.listing

    def keys(self) -> "Keys":
        """The names of keys and streams by the settings."""
        from qtctl.wire.schema.keys import Keys

        settings = self.settings
        return Keys(
            settings.redis.prefix,
            plans=settings.governor.stream_plans,
            proposed=settings.allocation.stream_proposed,
            events=settings.governor.stream_events,
            rejected=settings.governor.stream_rejected,
        )

    def connection(self, url: str) -> "Store":
        """A store for a URL with the names of the settings; nothing is sent yet. Errors:
        ConfigError where a file with the password or a certificate can't be read."""
        from qtctl.wire.client.connect import NO_ACCESS
        from qtctl.wire.client.store import Store

        redis = self.settings.redis
        # The login is for the server of the settings, and for no private one.
        access = self.access() if url == redis.url and not _is_private(url) else NO_ACCESS
        access.check(url)
        return Store(
            url,
            self.keys(),
            connect_timeout_sec=redis.connect_timeout_sec,
            timeout_sec=redis.timeout_sec,
            access=access,
        )

    def access(self) -> "Access":
        """Who we are to the server of the settings; nothing is read yet."""
        from qtctl.wire.client.connect import Access

        redis, password = self.settings.redis, self.loaded.password
        return Access(
            username=redis.username,
            password=None if password is None else password.read,
            ca_file=redis.tls_ca_file,
            cert_file=redis.tls_cert_file,
            key_file=redis.tls_key_file,
            check_hostname=redis.tls_check_hostname,
        )

    def url(self) -> str:
        """The URL to connect to; for `embedded:` that of the private server. Errors:
        RedisUnreachable where it does not run."""
        url = self.settings.redis.url
        if url != EMBEDDED:
            return url
        from qtctl.settings.places import state_directory
        from qtctl.wire.private_server import embedded

        directory = state_directory(self.environ)
        running = embedded.running(directory)
        if running is None:
            raise RedisUnreachable(embedded.absence(directory))
        return running

    def say(self, text: str) -> None:
        """One line of prose on stderr: counts, hints, what was done."""
        print(prose.fitted(escape(text)), file=sys.stderr, flush=True)  # noqa: T201 - the CLI's own stderr

    def warn(self, text: str) -> None:
        """One warning on stderr."""
        self.say(f"qtctl: warning: {text}")


def _is_private(url: str) -> bool:
    """True for the socket of a private server (a proof's, a demo's), which needs no login."""
    if not url.startswith("unix://"):
        return False
    from urllib.parse import unquote, urlsplit

    from qtctl.wire.private_server.folder import SERVER_LOCK, SOCKET

    socket = Path(unquote(urlsplit(url).path))
    return socket.name == SOCKET and socket.with_name(SERVER_LOCK).exists()
