"""`qtctl bundle`: one file for a post-mortem, with whatever can be had."""

import hashlib
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from qtctl.cli.output import archive
from qtctl.cli.views import bundle as view
from qtctl.errors import RefusedError
from qtctl.wire.client.store import Store
from tests.support.cli import Cli, hosting
from tests.support.plans import fields

NAMES = [
    "manifest.json", "versions.json", "settings.json", "status.json", "services.json",
    "doctor.json", "timeline.json", "groups.json", "streams.json", "events.ndjson",
    "decisions.ndjson", "limits.json", "rejected.ndjson", "logs.ndjson",
]  # fmt: skip


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def read(path: Path) -> dict[str, Any]:
    """Its files by name: documents and lists as they are."""
    found: dict[str, Any] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            assert member.mode == 0o600
            file = tar.extractfile(member)
            assert file is not None
            text = file.read().decode()
            name = member.name.removeprefix("qtctl-bundle/")
            lines = name.endswith("ndjson")
            found[name] = (
                [json.loads(it) for it in text.splitlines()] if lines else json.loads(text)
            )
    return found


def send(store: Store, **plan: str) -> None:
    flat = [part for pair in fields(**plan).items() for part in pair]
    store.run("XADD", store.keys.plans, "*", *flat)


def test_it_has_everything_and_a_manifest_that_is_true(
    cli: Cli, store: Store, redis_url: str, tmp_path: Path
) -> None:
    for number in range(3):
        send(store, plan_id=f"p{number}")
    store.run("XADD", store.keys.plans, "*", "plan_id", "")
    cli.ok("serve", "governor", "--once")
    cli("halt", "--reason", "drill")
    out = tmp_path / "b.tar.gz"
    with hosting(redis_url):
        said = cli.ok("bundle", "--out", str(out))
    assert said.out == f"{out}\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = read(out)
    assert list(found) == NAMES
    manifest = found["manifest.json"]
    assert [each["name"] for each in manifest["files"]] == NAMES[1:]
    assert manifest["missing"] == []
    with tarfile.open(out) as tar:
        for each in manifest["files"]:
            file = tar.extractfile(f"qtctl-bundle/{each['name']}")
            assert file is not None
            content = file.read()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (
                each["bytes"], each["sha256"]
            )  # fmt: skip
            assert each["what"]
    assert {row["plan_id"] for row in found["decisions.ndjson"]} == {"p0", "p1", "p2"}
    assert {"permitted", "halted"} <= {row["event"] for row in found["events.ndjson"]}
    assert found["rejected.ndjson"][0]["reason"] == "invalid_plan"
    assert found["decisions.ndjson"][0]["limits"] in found["limits.json"]
    assert any(row["kind"] == "halt" for row in found["timeline.json"]["rows"])
    assert any(row["key"] == "governor.min_conf" for row in found["settings.json"])
    assert found["status.json"]["kill_switch"]["mode"] == "reduce_only"
    assert [row["service"] for row in found["services.json"]] == ["governor"]
    assert any(row["check"] for row in found["doctor.json"])
    assert found["groups.json"][0]["group"] == "governor"
    assert found["versions.json"]["libraries"]["redis"]


def test_without_redis_it_has_what_can_be_had(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "b.tar.gz"
    away = Cli(f"unix://{tmp_path}/none.sock", capsys)
    said = away("bundle", "--out", str(out), "-o", "json")
    assert said.code == 1
    found = read(out)
    there = {"manifest.json", "versions.json", "settings.json", "doctor.json", "timeline.json"}
    assert set(found) == there | {"logs.ndjson"}
    missing = {each["name"]: each["why"] for each in found["manifest.json"]["missing"]}
    assert set(missing) == set(NAMES) - set(found)
    assert all("none.sock" in why for why in missing.values())
    assert said.json["missing"] == found["manifest.json"]["missing"]
    assert len(said.err.splitlines()) == 2


def test_settings_that_are_not_valid_cost_no_more_than_what_needs_them(
    cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "b.tar.gz"
    assert cli("bundle", "--out", str(out), "--set", "governor.min_conf=7").code == 1
    found = read(out)
    assert "min_conf" in str(found["manifest.json"]["missing"])
    assert {"versions.json", "doctor.json"} <= set(found)


def test_a_part_that_cant_be_read_costs_no_other(cli: Cli, store: Store, tmp_path: Path) -> None:
    store.run("SET", store.keys.events, "x")
    out = tmp_path / "b.tar.gz"
    assert cli("bundle", "--out", str(out)).code == 1
    found = read(out)
    missing = {each["name"]: each["why"] for each in found["manifest.json"]["missing"]}
    assert "events.ndjson" in missing
    assert {"status.json", "streams.json", "versions.json"} <= set(found)


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_nothing_is_overwritten_without_force(cli: Cli, tmp_path: Path, what: str) -> None:
    out, other = tmp_path / "b.tar.gz", tmp_path / "other"
    if what == "file":
        out.write_text("old")
    else:
        out.symlink_to(other)
        if what == "link":
            other.write_text("old")
    said = cli("bundle", "--out", str(out))
    assert said.code == 4
    assert "--force" in said.err
    if what != "dangling link":
        assert out.read_text() == "old"
    cli.ok("bundle", "--out", str(out), "--force")
    assert "manifest.json" in read(out)
    assert not out.is_symlink()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert {each.name for each in tmp_path.iterdir()} <= {"b.tar.gz", "other"}


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "b.tar.gz"
    made = archive.Archive({})
    made.add("a.json", "a", [1])
    out.write_text("theirs")
    with pytest.raises(RefusedError):
        made.write(out, 0.0, force=False)
    assert out.read_text() == "theirs"


@pytest.mark.parametrize("place", ["none/b.tar.gz", "."])
def test_a_place_that_is_none_is_a_usage_error(cli: Cli, tmp_path: Path, place: str) -> None:
    assert cli("bundle", "--out", str(tmp_path / place)).code == 2


def test_a_folder_that_may_not_be_written_is_one_line(cli: Cli) -> None:
    said = cli("bundle", "--out", "/proc/b.tar.gz")
    assert said.code == 1
    assert "can't be written" in said.err.splitlines()[-1]


def test_it_is_bounded_on_a_large_server(
    cli: Cli, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams are cut to their newest entries, a file to its newest lines, the whole to a time."""
    monkeypatch.setattr(view, "MOST_EVENTS", 50)
    monkeypatch.setattr(archive, "MOST_BYTES", 9_000)
    entry = ("event", "other", "reason", "x" * 1_000)
    store.batch([("XADD", store.keys.events, "*", *entry, "n", n) for n in range(200)])
    out = tmp_path / "b.tar.gz"
    cli("bundle", "--out", str(out))
    found = read(out)
    about = {each["name"]: each for each in found["manifest.json"]["files"]}["events.ndjson"]
    assert (about["rows"], about["cut"]) == (8, True)
    assert [row["n"] for row in found["events.ndjson"]] == [str(n) for n in range(192, 200)]
    missing = {each["name"]: each["why"] for each in found["manifest.json"]["missing"]}
    assert "larger than" in missing["settings.json"]
    monkeypatch.setattr(view, "BUDGET_SEC", -1.0)
    assert cli("bundle", "--out", str(out), "--force").code == 1
    assert list(read(out)) == ["manifest.json"]


def test_no_login_is_in_it_whoever_wrote_it_there(cli: Cli, store: Store, tmp_path: Path) -> None:
    """Somebody pasted a URL into a reason; the password of this shell stands in a plan."""
    cli("halt", "--reason", "see redis://ops:hunter22@prod/0")
    store.run("XADD", store.keys.events, "*", "event", "x", "reason", 'my "own/secret" is in it')
    out = tmp_path / "b.tar.gz"
    environ = {"QTCTL_REDIS_PASSWORD": 'my "own/secret"'}
    cli("bundle", "--out", str(out), environ=environ)
    found = json.dumps(read(out), ensure_ascii=False)
    assert "hunter22" not in found
    assert "redis://ops:***@prod/0" in found
    assert "own/secret" not in found
    assert "*** is in it" in found


def test_a_name_of_its_own_where_none_is_given(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("bundle")
    (made,) = tmp_path.iterdir()
    assert said.out.strip() == made.name
    assert made.name.startswith("qtctl-bundle-2")
