"""EnvironmentFiles mean what systemd takes them to mean."""

from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.settings.environment import parse, read_envfile, valid

CASES = [
    ("A=1\nB=2", {"A": "1", "B": "2"}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("A=\nB=2\n", {"A": "", "B": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("\n  A = 1  \n", {"A": "1"}),
    ("# A=1\n; B=2\n  # C=3\nD=4\n", {"D": "4"}),
    ("# a comment goes on \\\nA=1\nB=2\n", {"B": "2"}),
    ("A=1 # kept\n", {"A": "1 # kept"}),
    ("A=1 ; kept\n", {"A": "1 ; kept"}),
    ("A=#kept\n", {"A": "#kept"}),
    ("A='a b'\nB=\"c d\"\n", {"A": "a b", "B": "c d"}),
    ("A='  a  '\n", {"A": "  a  "}),
    ("A='a\nb'\n", {"A": "a\nb"}),
    ("A='a\\b'\n", {"A": "a\\b"}),
    ('A="a\\"b\\\\c\\$d\\`e\\nf"\n', {"A": 'a"b\\c$d`e\\nf'}),
    ('A="a\\\nb"\n', {"A": "ab"}),
    ('A="a"\'b\' "c"\n', {"A": "abc"}),
    ('A="a" # c\n', {"A": "a# c"}),
    ('A=a"b"\n', {"A": 'a"b"'}),
    ("A=a\\\nb\n", {"A": "ab"}),
    ("A=\\\nb\n", {"A": "b"}),
    ("A=a\\ \n", {"A": "a "}),
    ("A=a\\nb\n", {"A": "anb"}),
    ("A=a\\", {"A": "a"}),
    ("A='open", {"A": "open"}),
    ('A="open', {"A": "open"}),
    ("A=b=c\n", {"A": "b=c"}),
    ("no assignment\nA=1\n", {"A": "1"}),
    ("export A=1\nB=2\n", {"B": "2"}),
    ("1A=1\nA-B=2\n=3\n", {}),
    ("A=$HOME ${B}\n", {"A": "$HOME ${B}"}),
    ("A=1\0\nB=2\n", {"A": "1"}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "values"), CASES)
def test_a_file_is_read_as_systemd_reads_it(
    tmp_path: Path, text: str, values: dict[str, str]
) -> None:
    path = tmp_path / "a.env"
    path.write_bytes(text.encode())
    assert valid(read_envfile(path)) == values


def test_a_name_that_systemd_refuses_is_still_returned() -> None:
    assert parse("export A=1\n") == [("export A", "1")]


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    with pytest.raises(ConfigError, match=f"file {path} can't be read: No such file"):
        read_envfile(path)
    path.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(ConfigError, match=f"file {path} is not UTF-8 .at line 2"):
        read_envfile(path)
