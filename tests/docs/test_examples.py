"""The examples in docs/examples: made from the figures beside them by the pages of this tree."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from docs.generators.example_pages import FOLDER, SCENES, figures, pages
from tests.cli.html_pages.structure import Structure

VERDICTS = {"ready": "READY", "not-ready": "NOT READY"}


def _without_version(page: str) -> str:
    return re.sub(r"Made by qtctl \S+ ", "", page)


@pytest.mark.parametrize("scene", SCENES)
def test_the_pages_are_those_of_the_figures(scene: str) -> None:
    for name, page in pages(scene).items():
        kept = (FOLDER / name).read_text(encoding="utf-8")
        assert _without_version(kept) == _without_version(page), "run make docs"
        assert len(kept) < 400_000
        assert Structure(kept).complaints == []
    verdict = pages(scene)[f"{scene}-readiness.html"]
    assert f"The verdict is {VERDICTS[scene]}:" in Structure(verdict).text


def test_no_other_file_is_there() -> None:
    made = {f"{scene}-{name}" for scene in SCENES for name in ("report", "readiness")}
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}.{kind}" for name in made for kind in ("html", "json")
    }


@pytest.mark.skipif(os.environ.get("TESTS_LONG") != "1", reason="TESTS_LONG=1: takes 30 s")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scene", SCENES)
def test_the_figures_come_out_again(scene: str, tmp_path: Path) -> None:
    for name, found in figures(tmp_path / "history", SCENES[scene]).items():
        kept = msgspec.json.decode((FOLDER / f"{scene}-{name}.json").read_bytes())
        again = msgspec.json.decode(msgspec.json.encode(found))
        for each in (kept, again):
            each["window"].pop("chain")  # the version of qtctl is in the records
        assert again == kept, "run make examples"
