"""Files as Windows saves them, and files that no person has written."""

import codecs
import time
from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import load
from qtctl.settings.import_env import imported

DEEP = ".".join(["a"] * 2_000)
OVERSIZED = {
    "over 1,000,000 bytes": ("#" + "x" * 99 + "\n") * 10_001,
    "over 10,000 lines": "\n" * 10_000,
    "line 2 is over 4,096 bytes": "# x\n#" + "x" * 4_096 + "\n",
}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(codecs.BOM_UTF8 + b"[allocation]\r\nmin_conf = 0.7\r\n")
    assert load(config=file, environ={}).settings.allocation.min_conf == 0.7


def test_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[allocation]\nmin_conf = 0.7\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"a\.toml is not UTF-8, but UTF-16 \(at line 1\)"):
        load(config=file, environ={})


def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(codecs.BOM_UTF8 + b"geheim\r\n")
    loaded = load(config=None, environ={}, sets=[f"redis.password_file={file}"])
    assert loaded.password is not None
    assert loaded.password.read() == "geheim"


@pytest.mark.parametrize("says", OVERSIZED)
def test_files_that_are_too_large_are_refused_at_once(tmp_path: Path, says: str) -> None:
    file = tmp_path / "a"
    file.write_text(OVERSIZED[says])
    begun = time.process_time()
    with pytest.raises(ConfigError, match=f"{file}.* {says}"):
        load(config=file, environ={})
    with pytest.raises(ConfigError, match=f"{file}.* {says}"):
        imported([file])
    assert time.process_time() - begun < 1


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="/dev/zero is over 1,000,000 bytes"):
        load(config=Path("/dev/zero"), environ={})


@pytest.mark.parametrize("line", [f"{DEEP} = 1", f"[{DEEP}]", f"x = {{ {DEEP} = 1 }}"])
def test_names_of_thousands_of_parts_are_refused_at_once(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"{line}\n" * 200)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=r"line 1 has a name of over 32 parts"):
        load(config=file, environ={})
    with pytest.raises(ConfigError):
        load(config=None, environ={}, sets=[f"allocation.name={{ {DEEP * 20} = 1 }}"])
    assert time.process_time() - begun < 1


def test_a_large_file_of_settings_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text("P31_MIN_CONF=0.7\n" * 9_000)
    assert "min_conf = 0.7" in imported([file]).toml
