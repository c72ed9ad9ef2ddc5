"""Settings from variables: the new names, and the old ones that existing units use.

The same rules read the environment of a process and an EnvironmentFile that is imported.
Source: section 5 of the specification.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from qtctl.errors import ConfigError
from qtctl.settings.catalog import FieldInfo, by_path, by_variable
from qtctl.settings.secrets import PASSWORD
from qtctl.settings.sources import Claim, nearest, shown_name, unknown
from qtctl.settings.urls import mask_url, with_parts
from qtctl.settings.values import checked, from_text, refuse, shown

OURS = "QTCTL_"
CONFIG = "QTCTL_CONFIG"
"""Where the TOML file is."""
URL = "QTCTL_REDIS_URL"
NO_SETTINGS = (CONFIG, PASSWORD)
"""What begins as our settings do and is none: the file, and the password, which is never shown."""
REDIS_PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_DB")
METRICS = {"METRICS_PORT": "metrics_port", "METRICS_ADDR": "metrics_addr"}
"""Old names that say nothing of which service they mean."""
_OLD_FAMILIES = ("GOV_", "P31_")
_COMMENT = re.compile(r"(?:^|\s)\s*#.*", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_INTEGER = re.compile(r"[0-9]{1,9}")


class Variables:
    """The variables of a process or of a file; where: `environment` or `file …`.

    Collects one warning for each variable with a comment behind its value.
    """

    def __init__(self, values: Mapping[str, str], where: str = "environment") -> None:
        self.values = values
        self.warnings: list[str] = []
        self._where = where
        self._read: dict[str, str] = {}

    def text(self, name: str) -> str:
        """A value up to blank and `#`: systemd keeps such a comment as part of the value."""
        if name not in self._read:
            raw = self.values[name]
            self._read[name] = _COMMENT.sub("", raw).strip()
            if self._read[name] != raw.strip():
                self.warnings.append(
                    f"{self.origin(name)}: the comment behind the value is left out, "
                    f"which leaves {shown(self._read[name])}; give it a line of its own"
                )
        return self._read[name]

    def origin(self, *names: str) -> str:
        """Where a value comes from: `environment P31_MIN_CONF`."""
        return f"{self._where} {', '.join(names)}"

    def claim(self, field: FieldInfo, name: str) -> Claim:
        """What a variable says about a setting. Errors: ConfigError."""
        text, origin = self.text(name), self.origin(name)
        return Claim(field, checked(field, from_text(field, text), origin, text), origin)


def old_claims(variables: Variables, sections: Collection[str]) -> Iterator[Claim]:
    """What old names say about these sections, where the name tells what it is about."""
    for name, about in by_variable().items():
        if name.startswith(OURS) or name in METRICS or name in REDIS_PARTS:
            continue
        if name in variables.values:
            yield from (variables.claim(f, name) for f in about if f.section in sections)


def new_claims(variables: Variables) -> Iterator[Claim]:
    """What QTCTL_<SECTION>_<KEY> variables say."""
    for name, about in by_variable().items():
        if name.startswith(OURS) and name in variables.values:
            yield from (variables.claim(field, name) for field in about)


def metrics_claims(variables: Variables, service: str) -> Iterator[Claim]:
    """What METRICS_PORT and METRICS_ADDR say, meant for this one service."""
    for name, key in METRICS.items():
        if name in variables.values:
            yield variables.claim(by_path()[f"{service}.{key}"], name)


def refuse_one_port_for_two(variables: Variables) -> None:
    """Errors: ConfigError where METRICS_PORT stands in the environment of `serve all`."""
    if "METRICS_PORT" in variables.values:
        raise ConfigError(
            f"METRICS_PORT = {shown(variables.text('METRICS_PORT'))} "
            f"({variables.origin('METRICS_PORT')}) would mean two ports in serve all: unset it, "
            "and set allocation.metrics_port and governor.metrics_port "
            "(QTCTL_ALLOCATION_METRICS_PORT, QTCTL_GOVERNOR_METRICS_PORT)"
        )


def redis_claims(variables: Variables, base: str) -> Iterator[Claim]:
    """REDIS_HOST, REDIS_PORT and REDIS_DB put into a URL, which has come from a weaker source.

    Errors: ConfigError, also where the URL has no such parts.
    """
    names = [name for name in REDIS_PARTS if name in variables.values]
    if not names:
        return
    field, origin = by_path()["redis.url"], variables.origin(*names)
    try:
        url = with_parts(
            base,
            host=_host(variables, field),
            port=_integer(variables, field, "REDIS_PORT", 1, 65_535),
            db=_integer(variables, field, "REDIS_DB", 0, 999_999_999),
        )
    except ValueError:
        raise ConfigError(
            f"redis.url = {shown(base)} can't take {', '.join(names)} ({origin}): "
            f"unset them, or set {URL}"
        ) from None
    yield Claim(field, checked(field, url, origin), origin)


def unknown_ours(variables: Variables) -> None:
    """Errors: ConfigError for a QTCTL_ variable that is no setting."""
    for name in sorted(variables.values):
        if name.startswith(OURS) and name not in (*NO_SETTINGS, *by_variable()):
            known = [known for known in by_variable() if known.startswith(OURS)]
            raise unknown("setting", name, variables.origin(shown_name(name)), known)


def unknown_old(variables: Variables) -> list[str]:
    """A warning for each GOV_ or P31_ variable that is no setting."""
    return [
        f"{variables.origin(shown_name(name))} is no setting of qtctl and changes nothing"
        + nearest(name, (known for known in by_variable() if not known.startswith(OURS)))
        for name in sorted(variables.values)
        if name.startswith(_OLD_FAMILIES) and name not in by_variable()
    ]


def _host(variables: Variables, field: FieldInfo) -> str | None:
    if "REDIS_HOST" not in variables.values:
        return None
    text = variables.text("REDIS_HOST")
    if _HOST.fullmatch(text) is None:
        raise refuse(
            field, text, variables.origin("REDIS_HOST"), "expected the name or address of a host"
        )
    return text


def _integer(
    variables: Variables, field: FieldInfo, name: str, least: int, most: int
) -> int | None:
    if name not in variables.values:
        return None
    text = variables.text(name)
    if _INTEGER.fullmatch(text) is None or not least <= int(text) <= most:
        raise refuse(
            field,
            mask_url(text),
            variables.origin(name),
            f"expected a whole number, {least} to {most}; or set {URL}",
        )
    return int(text)
