"""What a history must show before anything is enforced: the numbers of the gates of readiness.

A policy is a TOML file: a table [gates] with the limit of each, a table [follow] with how whoever
enforces would follow a multiplier. What a file leaves out is the default here.
"""

import hashlib
import math
import tomllib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from qtctl.errors import ConfigError

_MAX_BYTES = 100_000


class Rule(NamedTuple):
    """A gate. least: the value must reach the limit, else it must not exceed it. unit: of both;
    `share` stands for a percentage, as 0.9 for 90 %."""

    least: bool
    unit: Literal["h", "share", "per h", "", "s", "d"]
    limit: float
    most: float
    means: str


RULES: dict[str, Rule] = {
    "window": Rule(True, "h", 48, 8_760, "hours since the last change of settings or version"),
    "passes": Rule(True, "share", 0.99, 1, "passes made of those due"),
    "gap": Rule(False, "s", 300, 86_400, "the longest time without a record"),
    "ok": Rule(True, "share", 0.90, 1, "time in which the score was ok"),
    "stale": Rule(False, "share", 0.02, 1, "time in which the score was stale"),
    "flips": Rule(False, "per h", 1, 360, "flips after deadband and step limit"),
    "span": Rule(True, "share", 0.05, 10, "P90 − P10 of the multiplier"),
    "clamps": Rule(False, "share", 0.10, 1, "time of the multiplier at a clamp"),
    "gross": Rule(False, "share", 0.10, 10, "change of gross exposure, P99"),
    "step": Rule(False, "share", 0.25, 10, "the largest step of a multiplier"),
    "written_back": Rule(False, "", 0, 1e9, "targets that equal the last proposal"),
    "parity": Rule(True, "share", 1.0, 1, "judged again, the same to the byte"),
    "chain": Rule(False, "", 0, 1e9, "days that are not what was sealed"),
    "drill": Rule(False, "d", 30, 365, "since a halt that was resumed"),
}  # fmt: skip
"""By name, in the order of the page."""
FOLLOW = {"deadband": (0.02, 1.0), "step_limit": (0.25, 10.0)}
"""Of a multiplier, per pass: the default and the most."""
LEAST = {"window": 0.01, "step_limit": 0.0001}
"""Of those that can't be 0: nothing would be judged, or nothing followed."""


class Policy(msgspec.Struct, frozen=True):
    """A whole policy. gates: the limit of each of RULES; deadband, step_limit: see Follow, of a
    multiplier; digest: of all of it."""

    gates: dict[str, float]
    deadband: float
    step_limit: float
    digest: str

    def weaker(self) -> list[str]:
        """What lets more pass than the default: names of gates, and of the two of Follow, where
        more of a deadband or less of a step hides flips."""
        found = [
            name
            for name, rule in RULES.items()
            if (self.gates[name] < rule.limit if rule.least else self.gates[name] > rule.limit)
        ]
        if self.deadband > FOLLOW["deadband"][0]:
            found.append("deadband")
        if self.step_limit < FOLLOW["step_limit"][0]:
            found.append("step_limit")
        return found


def load(path: Path | None) -> Policy:
    """The policy of a file; None is the default. Errors: ConfigError that names the file and what
    is wrong with it."""
    found = {} if path is None else _read(path)
    for table in found:
        if table not in ("gates", "follow"):
            raise ConfigError(f"{path}: unknown table [{table}]: allowed are [gates] and [follow]")
    gates = _numbers(path, found, "gates", {n: (r.limit, r.most) for n, r in RULES.items()})
    follow = _numbers(path, found, "follow", FOLLOW)
    raw = msgspec.json.encode({"gates": gates, "follow": follow})
    return Policy(
        gates, follow["deadband"], follow["step_limit"], hashlib.sha256(raw).hexdigest()[:16]
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"policy {path} can't be read: {problem.strerror}") from problem
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"policy {path} is over {_MAX_BYTES:,} bytes: not a policy")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as problem:
        raise ConfigError(f"policy {path} is not UTF-8") from problem
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"policy {path} is not TOML: {problem}") from problem


def _numbers(
    path: Path | None, found: dict[str, Any], table: str, known: dict[str, tuple[float, float]]
) -> dict[str, float]:
    given = found.get(table, {})
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: {table} must be a table: write [{table}]")
    what = "gate" if table == "gates" else "setting"
    for name, value in given.items():
        if name not in known:
            listed = f"known are {', '.join(known)}"
            raise ConfigError(f"{path}: unknown {what} {name[:40]!r}: {listed}")
        least, most = LEAST.get(name, 0), known[name][1]
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not least <= value <= most:
            raise ConfigError(
                f"{path}: {table}.{name} = {_shown(value)}: allowed are {least:g} to {most:g}"
            )
    return {name: float(given.get(name, default)) for name, (default, _) in known.items()}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
