"""`qtctl config`: what is in force and why, without ever showing a password."""

import json
import tomllib
from pathlib import Path

import pytest

from qtctl.cli.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "qtctl.toml"
    file.write_text(
        '[redis]\nurl = "redis://ops:hush@prod-1:6380/2"\n[governor]\nmin_conf = 0.7\n', "utf-8"
    )
    return file


def shown(capsys: Captured, *args: str, environ: dict[str, str] | None = None) -> str:
    assert run(["config", *args], environ or {}) == 0
    return capsys.readouterr().out


def test_show_names_value_and_origin_of_every_setting(capsys: Captured, file: Path) -> None:
    environ = {"P31_STALE_SEC": "300"}
    args = ("show", "-o", "json", "--config", str(file), "--set", "governor.permit_ttl_sec=30")
    rows = {row["key"]: row for row in json.loads(shown(capsys, *args, environ=environ))}
    assert set(rows["governor.min_conf"]) == {
        *("key", "value", "origin", "overruled"),
        *("default", "allowed", "description", "variables"),
    }
    assert rows["governor.min_conf"]["value"] == 0.7
    assert str(file) in rows["governor.min_conf"]["origin"]
    assert rows["allocation.stale_sec"]["value"] == 300
    assert "P31_STALE_SEC" in rows["allocation.stale_sec"]["origin"]
    assert rows["governor.permit_ttl_sec"]["value"] == 30
    assert "--set" in rows["governor.permit_ttl_sec"]["origin"]
    assert rows["allocation.base"]["origin"] == "default"


def test_show_tells_what_a_value_overrules(capsys: Captured, file: Path) -> None:
    args = ("show", "governor.min_conf", "--config", str(file))
    environ = {"P31_MIN_CONF": "0.8"}
    row = json.loads(shown(capsys, *args, "-o", "json", environ=environ))[0]
    assert row["value"] == 0.8
    assert row["overruled"] == [{"origin": f"file {file}", "value": "0.7"}]
    table = ("show", "governor", "--config", str(file))
    assert f"0.7 (file {file})" in shown(capsys, *table, environ=environ)


def test_show_of_one_setting_is_all_there_is_to_know(capsys: Captured, file: Path) -> None:
    args = ("show", "governor.min_conf", "--config", str(file), "--set", "governor.min_conf=0.9")
    out = shown(capsys, *args, environ={"P31_MIN_CONF": "0.8"})
    about, overruled, where = out.split("\n\n")
    fields = dict(line.split(maxsplit=1) for line in about.splitlines())
    assert fields["value"] == "0.9"
    assert fields["from"] == "--set"
    assert fields["default"] == "0.65"
    assert fields["allowed"] == "a number, 0 to 1"
    assert "give no hint" in about
    assert [line.split(maxsplit=1) for line in overruled.splitlines()[2:]] == [
        ["0.8", "environment P31_MIN_CONF"],
        ["0.7", f"file {file}"],
    ]
    assert "QTCTL_GOVERNOR_MIN_CONF, P31_MIN_CONF" in where


def test_show_of_the_url_hides_the_passwords_of_all_sources(capsys: Captured, file: Path) -> None:
    more = ("--config", str(file), "--set", "redis.url=redis://:quiet@prod-2/0")
    for output in ("table", "json"):
        out = shown(capsys, "show", "redis.url", "-o", output, *more)
        assert "prod-1" in out
        assert "prod-2" in out
        assert "hush" not in out
        assert "quiet" not in out


def test_a_masked_password_in_toml_is_told(capsys: Captured, file: Path) -> None:
    assert run(["config", "show", "-o", "toml", "--config", str(file)], {}) == 0
    assert "password" in capsys.readouterr().err
    assert run(["config", "show", "governor", "-o", "toml", "--config", str(file)], {}) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "toml"])
def test_no_output_shows_the_password(output: str, capsys: Captured, file: Path) -> None:
    out = shown(capsys, "show", "-o", output, "--config", str(file))
    assert "hush" not in out
    assert "prod-1" in out


def test_show_picks_settings_and_sections(capsys: Captured) -> None:
    keys = [row["key"] for row in json.loads(shown(capsys, "show", "redis", "-o", "json"))]
    assert "redis.url" in keys
    assert all(key.startswith("redis.") for key in keys)
    lines = shown(capsys, "show", "governor.min_conf", "redis.url").splitlines()
    assert [line.split()[0] for line in lines] == ["setting", "redis.url", "governor.min_conf"]


def test_show_of_an_unknown_setting_says_so(capsys: Captured) -> None:
    assert run(["config", "show", "governor.nope"], {}) == 2
    assert "governor.nope" in capsys.readouterr().err


def test_shown_toml_gives_the_same_settings_again(capsys: Captured, tmp_path: Path) -> None:
    environ = {"P31_STALE_SEC": "300", "GOV_SYMBOL_COOLDOWN_SECONDS": "5"}
    toml = shown(capsys, "show", "-o", "toml", environ=environ)
    again = tmp_path / "again.toml"
    again.write_text(toml, "utf-8")
    first = json.loads(shown(capsys, "show", "-o", "json", environ=environ))
    second = json.loads(shown(capsys, "show", "-o", "json", "--config", str(again)))
    assert [(row["key"], row["value"]) for row in first] == [
        (row["key"], row["value"]) for row in second
    ]


def test_check_of_a_good_file_names_it(capsys: Captured, file: Path) -> None:
    assert run(["config", "check", "--config", str(file)], {}) == 0
    out, err = capsys.readouterr()
    assert str(file) in out
    assert "hush" not in out + err
    assert "good" in err
    checked = json.loads(shown(capsys, "check", "--config", str(file), "-o", "json"))
    assert (checked["ok"], checked["file"], checked["warnings"]) == (True, str(file), [])


def test_check_prints_warnings_and_still_passes(capsys: Captured) -> None:
    assert run(["config", "check"], {"P31_MIN_CONF": "0.7 # stricter"}) == 0
    err = capsys.readouterr().err
    assert err.startswith("qtctl: warning: ")
    assert "P31_MIN_CONF" in err


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[governor]\nmin_confidence = 1\n", "min_confidence"),
        ("[governor]\nmin_conf = 'x'\n", "min_conf"),
        ("[governor\n", "bad.toml"),
    ],
)
def test_check_of_a_bad_file_is_5_and_one_line(
    text: str, names: str, capsys: Captured, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(text, "utf-8")
    assert run(["config", "check", "--config", str(bad)], {}) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("qtctl: ")
    assert err.count("\n") == 1
    assert names in err
    assert "bad.toml" in err


def test_a_file_that_is_asked_for_and_missing_is_5(capsys: Captured, tmp_path: Path) -> None:
    assert run(["config", "show", "--config", str(tmp_path / "none.toml")], {}) == 5
    assert "none.toml" in capsys.readouterr().err


def test_init_prints_a_file_that_checks(capsys: Captured, tmp_path: Path) -> None:
    template = shown(capsys, "init")
    assert {"redis", "allocation", "governor"} <= set(tomllib.loads(template))
    assert "#" in template
    file = tmp_path / "qtctl.toml"
    file.write_text(template, "utf-8")
    assert run(["config", "check", "--config", str(file)], {}) == 0


def test_import_env_turns_files_of_units_into_toml(capsys: Captured, tmp_path: Path) -> None:
    first, second = tmp_path / "p29.env", tmp_path / "p32.env"
    first.write_text('P31_SCALE="1.5"\nP31_MIN_CONF=0.6\n', "utf-8")
    second.write_text("# comment\nGOV_MAX_EXEC_PER_HOUR=7\nP31_MIN_CONF=0.8\n", "utf-8")
    assert run(["config", "import-env", str(first), str(second)], {}) == 0
    settings = tomllib.loads(capsys.readouterr().out)
    assert settings["allocation"]["scale"] == 1.5
    assert settings["governor"]["max_exec_per_hour"] == 7
    assert settings["governor"]["min_conf"] == 0.8


DROPPED = """\
GOV_MAX_EXEC_PER_HOUR=3  # per hour
GOV_MAX_EXEC_PER_5MIN=2  # in 5 min
GOV_SYMBOL_COOLDOWN_SECONDS=60 # between two
GOV_KILL_SCORE_CRITICAL=0.8 # score
P31_MIN_CONF=0.65 # confidence
P31_EFF_TTL_SEC=600 # ten minutes
PYTHONUNBUFFERED=1
LOG_LEVEL=info
QTCTL_REDIS_PASSWORD=hunter2
"""


def test_import_env_says_all_in_one_summary(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "p32.env"
    file.write_text(DROPPED, "utf-8")
    assert run(["config", "import-env", str(file)], {}) == 0
    out, err = capsys.readouterr()
    assert tomllib.loads(out)["governor"]["max_exec_per_hour"] == 3
    lines = err.splitlines()
    assert lines[0] == "qtctl: warning: 6 settings from 1 file; 9 to look at:"
    assert [line.partition(":")[0] for line in lines[1:] if not line.startswith(" ")] == [
        "QTCTL_REDIS_PASSWORD",
        "skipped, no settings",
        "comments behind values ignored, leaving",
    ]
    assert max(map(len, lines)) <= 80
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("GOV_MAX_DAILY_LOSS_USDT=500", 1),
        ("P31_MAX_DRAWDOWN=0.2", 1),
        ("MAX_EXEC_PER_HOUR=3", 1),
        ("QTCTL_GOVERNOR_MAX_EXEC=3", 1),
        ("export GOV_MAX_EXEC_PER_HOUR=3", 1),
        ("PYTHONUNBUFFERED=1", 0),
        ("QTCTL_CONFIG=/x", 0),
        ("METRICS_PORT=1\nP31_SCALE=1\nGOV_MAX_EXEC_PER_HOUR=1", 0),
        ("GOV_MAX_EXEC_PER_HOUR=3 # a comment", 0),
    ],
)
def test_import_env_exits_1_where_it_drops_a_limit(
    capsys: Captured, tmp_path: Path, line: str, code: int
) -> None:
    file = tmp_path / "p32.env"
    file.write_text(f"{line}\nP31_BASE=1\n", "utf-8")
    assert run(["config", "import-env", str(file)], {}) == code
    out, err = capsys.readouterr()
    assert tomllib.loads(out)["allocation"]["base"] == 1
    assert ("LIMITS DROPPED" in err) == bool(code)


def test_import_env_names_the_file_of_several(capsys: Captured, tmp_path: Path) -> None:
    for name in ("a.env", "b.env"):
        (tmp_path / name).write_text("GOV_SOMETHING=1\nFOO=1\n", "utf-8")
    files = [str(tmp_path / name) for name in ("a.env", "b.env")]
    assert run(["config", "import-env", *files], {}) == 1
    err = capsys.readouterr().err
    assert "GOV_SOMETHING (a.env), GOV_SOMETHING (b.env)" in " ".join(err.split())
    assert "from 2 files; 4 to look at" in err


def test_import_env_of_a_missing_file_is_one_line(capsys: Captured, tmp_path: Path) -> None:
    assert run(["config", "import-env", str(tmp_path / "none.env")], {}) in (2, 5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "none.env" in err
    assert "internal error" not in err
