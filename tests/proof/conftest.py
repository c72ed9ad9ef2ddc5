"""Proofs in this process; what they start are real processes on real servers."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qtctl.cli.main import run


class Proven(NamedTuple):
    """What a proof ended with."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def failing(self) -> set[tuple[str, str]]:
        """(step, id) of every scenario that did not pass."""
        return {
            (step["step"], scenario["id"])
            for step in self.document["steps"]
            for scenario in step["scenarios"]
            if scenario["status"] != "pass"
        }

    def wrong(self, step: str, id_: str) -> str:
        """The failed checks of one scenario, as text."""
        (scenario,) = [
            scenario
            for found in self.document["steps"]
            for scenario in found["scenarios"]
            if (found["step"], scenario["id"]) == (step, id_)
        ]
        lines = [
            f"{check['what']}: expected {check['expected']}, seen {check['actual']}"
            for check in scenario["checks"]
            if not check["ok"]
        ]
        return "\n".join(lines)


Prove = Callable[..., Proven]


@pytest.fixture
def prove(capsys: pytest.CaptureFixture[str]) -> Prove:
    """Runs `qtctl proof ARGS…` with an environment of its own."""

    def proof(*args: str, environ: Mapping[str, str] | None = None) -> Proven:
        capsys.readouterr()
        own = {**os.environ, "QTCTL_CONFIG": os.devnull, **(environ or {})}
        code = run(["proof", *args], own)
        out, err = capsys.readouterr()
        return Proven(code, out, err)

    return proof


@pytest.fixture
def sabotage(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An environment in which `qtctl serve` (and only it) is another than it should be."""

    def make(code: str) -> dict[str, str]:
        body = "".join(f"    {line}\n" for line in code.strip().splitlines())
        (tmp_path / "sitecustomize.py").write_text(
            f"import sys\nif 'serve' in sys.orig_argv:\n{body}"
        )
        return {"PYTHONPATH": str(tmp_path)}

    return make
