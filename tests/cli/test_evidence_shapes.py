"""The JSON of report, replay, readiness and evidence: every path in it, with the kinds of its
values, as programs rely on them. What changes on purpose is written anew with
`WRITE_SHAPES=1 pytest tests/cli/test_evidence_shapes.py`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl.history.rows import Batch, Gap
from qtctl.history.store import Store
from tests.cli.evidence import MIDNIGHT_MS, exported, market
from tests.support.cli import Cli

SHAPES = Path(__file__).parents[1] / "vectors" / "shapes"
KEYED = ("reasons", "unproven", "unknown_alone", "unknown_in_sequence", "held", "settings")
"""Objects whose keys are values: reasons, digests, settings."""
REPLAYED = (
    "--set", "governor.max_exec_per_hour=9", "--set", "allocation.scale=2",
    "--sweep", "governor.max_exec_per_hour=1:2:1", "--sweep", "allocation.scale=1:2:1",
)  # fmt: skip
CALLS: dict[str, tuple[str, ...]] = {
    "report": ("report", "--dir", "HISTORY"),
    "replay": ("replay", "--dir", "HISTORY", *REPLAYED),
    "readiness": ("readiness", "--dir", "HISTORY"),
    "evidence-export": ("evidence", "export", "--dir", "HISTORY", "--no-proofs", "--out", "NEW"),
    "evidence-verify": ("evidence", "verify", "FOLDER", "--history", "HISTORY"),
}


def paths(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each path with the kind of what is there; `[]` stands for each of a list."""
    if isinstance(value, dict):
        yield path or ".", "object"
        for name, each in value.items():
            shown = "*" if path.rpartition(".")[2] in KEYED else name
            yield from paths(each, f"{path}.{shown}")
    elif isinstance(value, list):
        yield path or ".", "list"
        for each in value:
            yield from paths(each, f"{path}[]")
    else:
        kinds = {str: "text", bool: "flag", int: "number", float: "number", type(None): "null"}
        yield path, kinds[type(value)]


def shape(value: Any) -> str:
    """A line for each path. Where one history has a null and another a number is no matter: null
    shows only where there is nothing else."""
    found: dict[str, set[str]] = {}
    for path, kind in paths(value):
        found.setdefault(path, set()).add(kind)
    return "".join(
        f"{path} {' or '.join(sorted(kinds - {'null'}) or ['null'])}\n"
        for path, kinds in found.items()
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("shapes")
    history = market(base / "h")
    with Store(history, synthetic=True) as store:
        at = MIDNIGHT_MS + 60_000
        store.write(Batch(gaps=[Gap("trimmed", at, at + 9_000, "s", None, "why", at)]))
    folder = exported(history, base / "e")
    return {"HISTORY": str(history), "FOLDER": str(folder), "NEW": str(base / "new")}


@pytest.mark.parametrize("name", CALLS)
def test_every_path_has_its_kind(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [places.get(word, word) for word in CALLS[name]]
    said = Cli("redis://127.0.0.1:1/0", capsys)(*words, "-o", "json")
    assert said.code == (1 if name == "readiness" else 0), said
    golden = SHAPES / f"{name}.txt"
    found = shape(said.json)
    if os.environ.get("WRITE_SHAPES"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found)
    assert found == golden.read_text()
