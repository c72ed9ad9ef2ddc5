"""A field that is missing under its name, and the one that it may have become. Pure."""

from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

_LIKE = 0.5
"""`score` is so much like `efficiency_score`."""
_SAYS_WHO = ("source", "producer", "mode", "version")


def renamed(fields: Mapping[str, str], missing: str, known: Collection[str]) -> str | None:
    """The field not among `known` that is most like a missing one; None for none."""
    others = (name for name in fields if name not in known and fields[name])
    rated = [(SequenceMatcher(None, _bare(name), _bare(missing)).ratio(), name) for name in others]
    best = max(rated, default=(0.0, ""))
    return best[1][:40] if best[0] >= _LIKE else None


def producer(writer: str, fields: Mapping[str, str]) -> str:
    """The writer, by the contract and by the record: `P3.1 (mode live, version 2)`."""
    name = writer.removeprefix("upstream").strip(" ()") or "upstream"
    shown = [f"{field} {fields[field][:20]}" for field in _SAYS_WHO if fields.get(field)]
    return f"{name} ({', '.join(shown)})" if shown else name


def by_problem(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Problems with the names they concern, the most frequent first; found: name and problem."""
    out: dict[str, list[str]] = {}
    for name, problem in found:
        out.setdefault(problem, []).append(name)
    return dict(sorted(out.items(), key=lambda it: -len(it[1])))


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
