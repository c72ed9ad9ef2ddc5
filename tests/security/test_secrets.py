"""A password that is planted is nowhere to be found: in no output, log, error, page or report."""

import contextlib
import os
import re
import signal
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from qtctl.cli.main import run
from qtctl.errors import ServerRefusedError
from qtctl.settings.urls import mask_text
from tests.security.servers import Redis
from tests.support.cli import NO_FILE, unlog
from tests.support.ports import free_port
from tests.support.processes import Process, qtctl, until

PLANTED = "Pl4nt3d/Se#cr:et@9"
FORMS = (PLANTED, quote(PLANTED, safe=""), "Pl4nt3d", "Se%23cr")
"""The password, as it stands in a URL, and pieces that a careless cut would leave."""

Env = Mapping[str, str]


@pytest.fixture
def guarded(_valkey: Redis) -> Iterator[Redis]:
    """A server on which the operator, and both services, may also log in with the planted one."""
    _valkey.empty()
    roles = ("operator", "allocation", "governor")
    with _valkey.store() as admin:
        for role in roles:
            admin.run("ACL", "SETUSER", role, f">{PLANTED}")
        yield _valkey
        with contextlib.suppress(ServerRefusedError):  # a test took it away itself
            for role in roles:
                admin.run("ACL", "SETUSER", role, f"<{PLANTED}")


def url_with(redis: Redis, user: str, password: str = PLANTED, place: str = "") -> str:
    host = place or redis.url.partition("://")[2]
    return f"redis://{user}:{quote(password, safe='')}@{host}"


def by_variable(redis: Redis, user: str, _: Path) -> dict[str, str]:
    return {"QTCTL_REDIS_USERNAME": user, "QTCTL_REDIS_PASSWORD": PLANTED,
            "QTCTL_REDIS_URL": redis.url}  # fmt: skip


def by_url(redis: Redis, user: str, _: Path) -> dict[str, str]:
    return {"QTCTL_REDIS_URL": url_with(redis, user)}


def by_file(redis: Redis, user: str, folder: Path) -> dict[str, str]:
    secret, toml = folder / "secret", folder / "qtctl.toml"
    secret.write_text(PLANTED + "\n")
    toml.write_text(
        f'[redis]\nurl = "{redis.url}"\nusername = "{user}"\npassword_file = "{secret}"\n'
    )
    return {"QTCTL_CONFIG": str(toml)}


def by_toml_url(redis: Redis, user: str, folder: Path) -> dict[str, str]:
    toml = folder / "qtctl.toml"
    toml.write_text(f'[redis]\nurl = "{url_with(redis, user)}"\n')
    return {"QTCTL_CONFIG": str(toml)}


def by_credential(redis: Redis, user: str, folder: Path) -> dict[str, str]:
    (folder / "redis-password").write_text(PLANTED)
    return {"CREDENTIALS_DIRECTORY": str(folder), "QTCTL_REDIS_USERNAME": user,
            "QTCTL_REDIS_URL": redis.url}  # fmt: skip


WAYS = {
    "variable": by_variable,
    "url": by_url,
    "file": by_file,
    "toml": by_toml_url,
    "credential": by_credential,
}


class Search:
    """Collects what came out, and looks for the password in all of it."""

    def __init__(self, env: Env, capsys: pytest.CaptureFixture[str]) -> None:
        self._env, self._capsys = {**NO_FILE, **env}, capsys
        self.heard: list[tuple[str, str]] = []

    def run(self, line: str, code: int | None = 0, env: Env | None = None) -> str:
        """What a command prints; `code` None for whatever it ends with."""
        self._capsys.readouterr()
        try:
            ended = run(line.split(), {**self._env, **(env or {})})
        finally:
            unlog()
        out, err = self._capsys.readouterr()
        self.heard += [(f"stdout of {line}", out), (f"stderr of {line}", err)]
        assert code is None or ended == code, (line, ended, out, err)
        return out

    def hear(self, what: str, child: Process) -> None:
        self.heard += [(f"stdout of {what}", child.stdout), (f"stderr of {what}", child.stderr)]

    def folder(self, path: Path) -> None:
        for file in path.rglob("*"):
            if file.is_file():
                self.heard.append((str(file), file.read_text(errors="backslashreplace")))

    def archive(self, path: Path) -> None:
        """Every file in it."""
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                content = file.read().decode(errors="backslashreplace")
                self.heard.append((f"{member.name} in {path.name}", content))

    @contextlib.contextmanager
    def serving(self, role: str, env: Env) -> Iterator[Process]:
        ports = (f"{role}.metrics_port=0", "allocation.interval_sec=0.2")
        sets = [part for each in ports for part in ("--set", each)]
        with qtctl("serve", role, "--debug", *sets, env={**NO_FILE, **env}) as child:
            line = child.wait_for_line("listening")
            found = re.search(r"http://[\d.:]+", line)
            assert found is not None, line
            yield child
            for page in ("metrics", "livez", "readyz"):
                with contextlib.suppress(urllib.error.HTTPError):
                    answer = urllib.request.urlopen(f"{found[0]}/{page}", timeout=30)
                    self.heard.append((f"{role} /{page}", answer.read().decode()))
            command = Path(f"/proc/{child.pid}/cmdline")
            if command.exists():
                self.heard.append((f"command line of {role}", command.read_text()))
            child.signal(signal.SIGTERM)
            child.wait()
            self.hear(f"serve {role}", child)

    def finds_nothing(self) -> None:
        assert self.heard
        for where, what in self.heard:
            for form in FORMS:
                assert form not in what, f"{where} tells the password"


def keyspace(redis: Redis) -> list[tuple[str, str]]:
    with redis.store() as admin:
        return [(f"key {key}", repr(admin.run("DUMP", key))) for key in admin.scan_keys("*")]


@pytest.mark.parametrize("way", WAYS)
def test_a_password_opens_the_server_and_is_told_by_nothing(
    guarded: Redis, tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders: dict[str, Path] = {}
    for role in ("operator", "allocation", "governor"):
        folders[role] = tmp_path / role
        folders[role].mkdir()
    env = {role: WAYS[way](guarded, role, folder) for role, folder in folders.items()}
    search = Search(env["operator"], capsys)
    report = tmp_path / "report"
    with (
        search.serving("allocation", env["allocation"]),
        search.serving("governor", env["governor"]),
    ):
        with guarded.store() as admin:
            until(lambda: len(list(admin.scan_keys("quantum:qtctl:service:*"))) == 2)
        for line in (
            "inject plan BTCUSDT --plan-id p1 --wait 5 --debug",
            "plan show p1",
            "permit list -o json",
            "config show redis.url",
            "config show -o json",
            "config show -o toml",
            "config check",
            f"proof step2 --live --yes --report {report}",
        ):
            search.run(line)
        search.run(f"bundle --out {tmp_path}/b.tar.gz", None)
        search.heard += keyspace(guarded)
    search.folder(report)
    search.archive(tmp_path / "b.tar.gz")
    assert len(search.heard) > 13
    assert (report / "report.html").exists()
    search.finds_nothing()


@pytest.mark.parametrize("way", WAYS)
def test_no_error_tells_a_password(
    guarded: Redis, tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused as wrong, with nobody there, and in a traceback."""
    env = WAYS[way](guarded, "operator", tmp_path)
    search = Search(env, capsys)
    with guarded.store() as admin:
        for role in ("governor", "allocation", "operator"):
            admin.run("ACL", "SETUSER", role, f"<{PLANTED}")
    search.run("permit list --debug", 3)
    search.run("serve governor --once", 3)
    gone = f"127.0.0.1:{free_port()}/0"
    away = url_with(guarded, "operator", place=gone) if "URL" in str(env) else f"redis://{gone}"
    search.run("permit list --debug", 3, {"QTCTL_REDIS_URL": away})
    search.run(f"bundle --out {tmp_path}/b.tar.gz", 1)
    search.archive(tmp_path / "b.tar.gz")
    search.finds_nothing()


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "a port that is no number": ("config check", {"QTCTL_REDIS_URL": "redis://u:{}@h:x/0"}),
    "unescaped": ("config check", {"QTCTL_REDIS_URL": "redis://u:" + PLANTED + "@h:1/0"}),
    "a scheme nobody knows": ("permit list", {"QTCTL_REDIS_URL": "ftp://u:{}@h:1/0"}),
    "a database that is none": ("permit list", {"QTCTL_REDIS_URL": "redis://u:{}@h:1/x"}),
}


@pytest.mark.parametrize("what", BAD)
def test_no_complaint_about_a_url_tells_its_password(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line, env = BAD[what]
    quoted = {name: value.format(quote(PLANTED, safe="")) for name, value in env.items()}
    search = Search(quoted, capsys)
    search.run(line, 5)
    search.finds_nothing()


def test_what_is_imported_from_an_environment_file_has_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "1.env", tmp_path / "2.env"
    first.write_text(f"QTCTL_REDIS_URL=redis://u:{quote(PLANTED, safe='')}@h/0\n")
    second.write_text(
        f"QTCTL_REDIS_URL=redis://v:{quote(PLANTED, safe='')}@h/1\n"
        f"QTCTL_REDIS_PASSWORD={PLANTED}\nREDIS_PASSWORD={PLANTED}\n"
    )
    search = Search({}, capsys)
    assert 'url = "redis://v@h/1"' in search.run(f"config import-env {first} {second}")
    assert "its password is skipped" in search.heard[-1][1]
    search.finds_nothing()


def test_a_password_that_is_told_would_be_found(
    guarded: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """Proof of the search itself."""
    search = Search({}, capsys)
    search.heard.append(("a careless line", f"connecting to {url_with(guarded, 'u')}"))
    with pytest.raises(AssertionError, match="a careless line tells the password"):
        search.finds_nothing()


MISTYPED = [
    "plan list redis://u:geheim@h/0",
    "doctor --redis-url redis:/u:geheim@h",
    "doctor --redis-url u:geheim@h:6379",
    "doctor --redis-url geheim@h",
    "doctor --redis-url redis://h/0?pasword=geheim",
    "doctor --set redis.url=redis:u:geheim@h",
    "doctor --set redis://u:geheim@h",
    "doctor --config redis://u:geheim@h/1",
    "status u:geheim@h",
    "redis://u:geheim@h status",
    "status --config u:geheim@h",
    "inject eff redis://:geheim@h 0.2",
    "inject eff BTCUSDT redis://:geheim@h",
    "-o redis://:geheim@h status",
    "config show redis://u:geheim@h",
    "completion redis://u:geheim@h",
    "why redis://:geheim@h",
]


@pytest.mark.parametrize("line", MISTYPED)
def test_a_url_in_the_wrong_place_is_repeated_without_its_password(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split(), {"QTCTL_CONFIG": os.devnull}) != 0 or line.startswith("doctor")
    out, err = capsys.readouterr()
    assert out + err
    assert "geheim" not in out + err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SYMBOL 'redis://u:pw@h:6379/0' must", "SYMBOL 'redis://u:***@h:6379/0' must"),
        ("extra argument (u:pw@h)", "extra argument (u:***@h)"),
        ("redis://user@prod-1/0: by ops@desk", "redis://user@prod-1/0: by ops@desk"),
        ("no Redis at redis://h:6379/0: alice@desk", "no Redis at redis://h:6379/0: alice@desk"),
        ("at 12:30 by alice@desk: reason", "at 12:30 by alice@desk: reason"),
    ],
)
def test_prose_is_masked_where_it_holds_a_login(text: str, shown: str) -> None:
    assert mask_text(text) == shown
