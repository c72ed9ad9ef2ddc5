"""What pyproject.toml allows, what the lock pins and what the floors are go together."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.floors import floors, requirements

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements-dev.lock").read_text()
PINS = {
    canonicalize_name(pin.name): next(iter(pin.specifier)).version
    for pin in map(Requirement, re.findall(r"^([a-z0-9][^\\\n]*?) \\$", LOCK, re.MULTILINE))
}


@pytest.mark.parametrize("requirement", requirements())
def test_the_lock_pins_a_version_that_pyproject_allows(requirement: str) -> None:
    asked = Requirement(requirement)
    pinned = PINS.get(canonicalize_name(asked.name))
    assert pinned is not None, f"{asked.name} is not in the lock: run make lock"
    assert asked.specifier.contains(pinned), f"{asked.name} {pinned}: run make lock"


@pytest.mark.parametrize("requirement", requirements())
def test_a_floor_is_a_version_that_pyproject_allows(requirement: str) -> None:
    asked = Requirement(requirement)
    assert asked.specifier.contains(floors()[asked.name])


def test_the_lock_has_hashes_for_each_pin_and_names_no_host() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINS)
    assert all("--hash=sha256:" in block for block in blocks)
    assert re.findall(r"://|--(?:index|extra-index|find-links|trusted)", LOCK) == []


def test_wheels_of_every_platform_are_covered() -> None:
    """A compiled package has some ten wheels for each Python; the hashes of one machine are few."""
    for name in ("msgspec", "hiredis", "coverage"):
        (block,) = re.findall(rf"^{name}==.*\n((?:    --hash.*\n)+)", LOCK, re.MULTILINE)
        assert block.count("--hash") > 20, name


@pytest.mark.skipif(
    sys.prefix != str(ROOT / ".venv"), reason="not in the environment of make install"
)
def test_what_is_installed_is_what_the_lock_pins() -> None:
    assert {name: version(name) for name in map(_name, requirements())} == {
        name: PINS[canonicalize_name(name)] for name in map(_name, requirements())
    }


def _name(requirement: str) -> str:
    return Requirement(requirement).name
