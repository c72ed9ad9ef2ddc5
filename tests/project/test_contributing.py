"""The walks of CONTRIBUTING.md list the files that their examples took, no more and no fewer."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
WALKS = ("A gate", "A field of the permit", "A command", "A setting")


def walk(title: str) -> tuple[list[str], list[str]]:
    """The example's names and the files of the table below it."""
    section = PAGE.split(f"\n### {title}\n", 1)[1].split("\n#", 1)[0]
    example = re.search(r"^Worked example: (`[^`]+`(?:, `[^`]+`)*)", section, re.MULTILINE)
    assert example, title
    return re.findall(r"`([^`]+)`", example[1]), re.findall(
        r"^\| `([^`]+)` \|", section, re.MULTILINE
    )


def containing(word: str) -> set[str]:
    """The files of the package that have the word, in their text or in their path."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--", "qtctl"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    whole = re.compile(rf"\b{re.escape(word)}\b")
    return {
        name
        for name in listed
        if (ROOT / name).is_file()
        and (whole.search(name.replace("/", ".")) or whole.search((ROOT / name).read_text("utf-8")))
    }


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_lists_the_files_that_its_example_is_in(title: str) -> None:
    names, files = walk(title)
    assert len(files) == len(set(files))
    for file in files:
        assert (ROOT / file).is_file(), file
    ours = {file for file in files if file.startswith("qtctl/")}
    found = set().union(*map(containing, names))
    assert ours == found, f"the walk '{title}' and the files with {', '.join(names)} differ"


def test_a_gate_that_counts_what_is_counted_takes_six_files() -> None:
    first, *_ = PAGE.split("\n### A gate\n", 1)[1].split("That is all under `qtctl/`")
    assert len(re.findall(r"^\| `qtctl/", first, re.MULTILINE)) == 6


def test_every_walk_is_checked() -> None:
    section = PAGE.split("\n## Four walks\n", 1)[1].split("\n## ", 1)[0]
    assert tuple(re.findall(r"^### (.+)$", section, re.MULTILINE)) == WALKS


def test_every_make_target_that_is_named_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for page in ("CONTRIBUTING.md", "README.md"):
        for target in re.findall(r"[`$] ?make ([a-z-]+)", (ROOT / page).read_text("utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"
