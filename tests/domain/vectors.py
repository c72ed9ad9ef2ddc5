"""The golden cases, as pytest parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parent.parent / "vectors"


def load(name: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return vectors


def cases(name: str) -> list[Any]:
    """One parameter a case; a repeated name gets its number, so that a failure can be found."""
    return [
        pytest.param(case, id=f"{number:03d} {case['name']}")
        for number, case in enumerate(load(name)["cases"])
    ]


def of_the_stream(case: dict[str, Any]) -> bool:
    """True for a case of the gates that rests on what came before or on the decision as sent: no
    record keeps that, and only the atomic step knows it."""
    return "issued" in case["facts"] or case["entry"].get("decision", "EXECUTE") != "EXECUTE"
