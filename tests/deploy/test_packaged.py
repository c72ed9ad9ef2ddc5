"""What is installed comes with qtctl, in a checkout and in a wheel."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

import qtctl
from qtctl.deploy import packaged
from qtctl.deploy.diffs import masked, unified
from qtctl.deploy.host import State
from qtctl.errors import RefusedError
from qtctl.settings import template
from qtctl.settings.urls import MASK
from tests.deploy.hosts import ETC, UNITS

ROOT = ETC.parent


def test_a_checkout_finds_its_own_files() -> None:
    assert packaged.folder("units") == UNITS
    assert packaged.folder("etc") == ETC


def test_the_packaged_settings_are_the_template() -> None:
    assert (ETC / "qtctl.toml").read_text(encoding="utf-8") == template()


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_wheel_has_them_byte_for_byte(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    options = ["--no-index", "--disable-pip-version-check", "-w", str(tmp_path)]
    subprocess.run([*build, *options, str(ROOT)], check=True, capture_output=True)
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    code = "from qtctl.deploy.packaged import folder; print(folder('units'), folder('etc'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    ).stdout.split()
    for installed, ours in zip(map(Path, found), (UNITS, ETC), strict=True):
        assert installed.is_relative_to(site)
        assert contents(installed) == contents(ours)


def test_under_home_only_qtctls_own_folders_are_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(qtctl, "__file__", "/home/qt/qtctl/qtctl/__init__.py")
    monkeypatch.setattr(sys, "prefix", "/home/qt/qtctl/.venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    text = packaged.home_dropin()
    assert text is not None
    assert text.splitlines()[-3:] == [
        "ProtectHome=tmpfs",
        "BindReadOnlyPaths=/home/qt/qtctl/.venv",
        "BindReadOnlyPaths=/home/qt/qtctl/qtctl",
    ]
    monkeypatch.setattr(qtctl, "__file__", "/opt/q/lib/site-packages/qtctl/__init__.py")
    monkeypatch.setattr(sys, "prefix", "/opt/q")
    assert packaged.home_dropin() is None


@pytest.mark.parametrize(
    ("package", "why"), [("/tmp/q/qtctl", "a /tmp of its own"), ("/opt/my q/qtctl", "a unit file")]
)
def test_where_a_service_could_not_see_it_nothing_is_deployed(
    monkeypatch: pytest.MonkeyPatch, package: str, why: str
) -> None:
    monkeypatch.setattr(qtctl, "__file__", f"{package}/__init__.py")
    with pytest.raises(RefusedError, match=why):
        packaged.program()


@pytest.mark.parametrize(
    ("modes", "shut"),
    [
        ({}, None),
        ({"q": 0o700}, "q"),
        ({"q": 0o711}, "q"),
        ({".": 0o700}, "."),
        ({".": 0o711}, None),
    ],
)
def test_root_is_warned_where_the_services_could_not_read_it(
    monkeypatch: pytest.MonkeyPatch, modes: dict[str, int], shut: str | None
) -> None:
    """As a umask of 077 leaves it."""
    # Not tmp_path, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="qtctl-t-") as folder:
        place = Path(folder) / "srv"
        prefix = place / "q"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "qtctl").touch()
        for each in (Path(folder), place, prefix):
            each.chmod(0o755)
        for name, mode in modes.items():
            (place / name).chmod(mode)
        monkeypatch.setattr(sys, "prefix", str(prefix))
        monkeypatch.setattr(sys, "base_prefix", "/usr")
        monkeypatch.setattr(qtctl, "__file__", f"{prefix}/lib/qtctl/__init__.py")
        said = [line for line in packaged.warnings() if "can't read" in line]
    if shut is None:
        assert said == []
        return
    (line,) = said
    assert line == f"the services can't read {prefix}: chmod -R go+rX {(place / shut).resolve()}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("QTCTL_REDIS_PASSWORD=hunter2", "QTCTL_REDIS_PASSWORD=***"),
        ("  export PGPASS = 'hunter2'", "  export PGPASS = ***"),
        ('password: "hunter2"', "password: ***"),
        ('url = "redis://u:hunter2@h/0" # x', 'url = "redis://u:***@h/0" # x'),
        ('url = "redis://h/0?password=hunter2"', 'url = "redis://h/0?password=***"'),
        ("SetCredential=redis-password:hunter2", "SetCredential=***"),
        ("LoadCredential=redis-password:x.redis-password", None),
        ('password_file = "/etc/quantum/redis.password"', None),
        ('kill_keys = ["kill"]', None),
        ("GOV_MAX_EXEC_PER_HOUR=3", None),
        ("a\x1b[31mred", "a\\x1b[31mred"),
    ],
)
def test_a_diff_shows_no_password_and_steers_no_terminal(line: str, shown: str | None) -> None:
    assert masked([line]) == [line if shown is None else shown]


@pytest.mark.parametrize(
    "lines",
    [
        ["A_SECRET='one", "hunter2", "three'"],
        ['A_SECRET="one\\', "hunter2\\", 'three"'],
        ["A_SECRET=one\\", "hunter2"],
        ['a_secret = """', "hunter2", '"""'],
    ],
)
def test_a_secret_of_several_lines_is_masked_to_its_end(lines: list[str]) -> None:
    shown = masked([*lines, "B=2"])
    assert "hunter2" not in "".join(shown)
    assert shown[-1] == "B=2"


VARIABLES = [
    'QTCTL_REDIS_URL="redis://u:hun\\"ter2@h/0"',
    "QTCTL_REDIS_URL='redis://u:hun\"ter2@h/0'",
    "QTCTL_REDIS_URL=redis://u:hun\\ ter2@h/0",
    "QTCTL_REDIS_URL=redis://u:hun\\\nter2@h/0",
    'QTCTL_REDIS_URL="redis://u:"\'hunter2\'"@h/0"',
    "QTCTL_REDIS_URL='redis://u:hun\nter2@h/0'",
    'QTCTL_REDIS_PASSWORD="hun\\"ter2"',
    "QTCTL_REDIS_PASSWORD='hun'\"ter2\"",
    "QTCTL_REDIS_PASSWORD=hun\\\n  ter2",
    'QTCTL_REDIS_PASSWORD="hun\n#ter2\n"',
    "BYBIT_KEY=hunter2",
    "REDIS_URL=u:hunter2@h",
    "REDIS_URL=hunter2@h",
    "# REDIS_URL=u:hunter2@h",
    '# url = "redis://u:hun\\"ter2@h/0"',
    '[Service]\nEnvironment="QTCTL_REDIS_URL=redis://u:hun\\"ter2@h/0" A=b',
    "[Service]\nEnvironment=QTCTL_REDIS_PASSWORD=hun\\\nter2",
    "[Service]\nExecStart=/usr/bin/env qtctl serve all --redis-url redis://u:hun'ter2@h",
]
TOML = [
    '[redis]\nurl = "redis://u:hun\\"ter2@h/0"',
    "[redis]\nurl = 'redis://u:hun\"ter2@h/0'",
    '[redis]\nurl = "redis://u:hun\\u0074er2@h/0"',
    '[redis]\nurl = """\nredis://u:hun\\\n   ter2@h/0"""',
    '[redis]\nurl = """redis://u:hun""ter2@h/0"""',
    '[redis]\n"url" = "redis://u:hun ter2@h/0"',
    'redis = { url = "redis://u:hun\\"ter2@h/0" }',
    'redis.url = "redis://u:hun\\"ter2@h/0"',
    '[redis]\nurl = "u:hunter2@h"',
    "[redis]\nurl = u:hunter2@h",
    '[x]\nbybit_key = "hunter2"',
    '[x]\ntokens = [\n "hun",\n "ter2",\n]',
]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        *((text, "/etc/quantum/governor.env") for text in VARIABLES),
        *((text, "/etc/quantum/qtctl.toml") for text in TOML),
    ],
)
def test_no_way_to_write_a_password_shows_it(text: str, path: str) -> None:
    before, after = State("absent"), State("file", f"A=1\n{text}\nB=2\n".encode())
    shown = "\n".join(unified(path, before, after))
    for part in ("hun", "ter2", "u0074er2"):
        assert part not in shown, shown
    assert MASK in shown
    assert "+A=1\n" in shown
    assert shown.endswith("+B=2")


@pytest.mark.parametrize(
    "line",
    [
        "GOV_SYMBOL_COOLDOWN_SECONDS=60",
        "# rotate the token, ask for the key",
        'QTCTL_REDIS_URL="redis://h/0"',
        "PROPOSE_KEY_TTL=600",
        "Documentation=https://example.org/a",
        "Wants=network-online.target getty@tty1.service",
        'kill_keys = ["kill", "a:b"]',
    ],
)
def test_what_is_no_secret_is_shown_as_it_stands(line: str) -> None:
    assert masked([line]) == masked([line], is_toml=True) == [line]
