"""EnvironmentFiles of existing units become TOML that gives the same settings."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import load
from qtctl.settings.environment import read_envfile
from qtctl.settings.import_env import imported as import_files

ETC = Path(__file__).parents[2] / "etc"
SHIPPED = {"allocation": ETC / "allocation-target.env", "governor": ETC / "governor.env"}


def imported(tmp_path: Path, *texts: str) -> tuple[dict[str, Any], list[str]]:
    """What the TOML says, which also loads, and the warnings; files are named 0.env, 1.env, …"""
    paths = []
    for index, text in enumerate(texts):
        paths.append(tmp_path / f"{index}.env")
        paths[-1].write_text(text)
    found = import_files(paths)
    toml, warnings = found.toml, [note.text for note in found.notes]
    file = tmp_path / "q.toml"
    file.write_text(toml)
    load(config=file, environ={})
    return tomllib.loads(toml), [warning.replace(f"{tmp_path}/", "") for warning in warnings]


@pytest.mark.parametrize("service", ["allocation", "governor"])
def test_a_shipped_file_gives_as_toml_what_it_gives_as_environment(
    tmp_path: Path, service: str
) -> None:
    environ = dict(read_envfile(SHIPPED[service]))
    by_environment = load(config=None, environ=environ, service=service)
    found = import_files([SHIPPED[service]])
    toml, warnings = found.toml, [note.text for note in found.notes]
    file = tmp_path / "q.toml"
    file.write_text(toml)
    by_file = load(config=file, environ={}, service=service)
    assert by_file.settings == by_environment.settings
    assert warnings == by_environment.warnings == []
    assert len(tomllib.loads(toml)[service]) == len(environ)


def test_only_what_is_set_is_written(tmp_path: Path) -> None:
    content, warnings = imported(tmp_path, "P31_STALE_SEC=300\nLOOP_INTERVAL_SEC=5\n")
    assert content == {"allocation": {"stale_sec": 300.0, "interval_sec": 5.0}}
    assert warnings == []


def test_trailing_comments_are_dropped_with_a_warning_each(tmp_path: Path) -> None:
    content, warnings = imported(tmp_path, "P31_STALE_SEC=300  # old\nP31_SCALE=1 # s\n")
    assert content == {"allocation": {"stale_sec": 300.0, "scale": 1.0}}
    assert [warning.partition(":")[0] for warning in warnings] == [
        "file 0.env P31_STALE_SEC",
        "file 0.env P31_SCALE",
    ]


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("P31_STALE_SEC=1", "allocation"),
        ("LOOP_INTERVAL_SEC=1", "allocation"),
        ("PROPOSE_KEY_TTL=1", "allocation"),
        ("QTCTL_ALLOCATION_SCALE=1", "allocation"),
        ("GOV_MAX_EXEC_PER_5MIN=1", "governor"),
        ("P31_DOWNSIZE_THRESHOLD=0.4", "governor"),
        ("STREAM_PLANS=plans", "governor"),
    ],
)
def test_shared_names_go_to_the_service_the_file_belongs_to(
    tmp_path: Path, text: str, section: str
) -> None:
    common = "METRICS_PORT=9000\nMETRICS_ADDR=::\nP31_MIN_CONF=0.7\n"
    content, warnings = imported(tmp_path, common + text)
    assert list(content) == [section]
    assert content[section]["metrics_port"] == 9000
    assert content[section]["metrics_addr"] == "::"
    assert content[section]["min_conf"] == 0.7
    assert warnings == []


def test_two_files_of_two_services_keep_their_own_ports_and_confidences(tmp_path: Path) -> None:
    content, warnings = imported(
        tmp_path,
        "METRICS_PORT=1\nP31_MIN_CONF=0.1\nP31_SCALE=1\n",
        "METRICS_PORT=2\nP31_MIN_CONF=0.2\nP31_MIN_FACTOR=0.5\n",
    )
    assert content == {
        "allocation": {"min_conf": 0.1, "scale": 1.0, "metrics_port": 1},
        "governor": {"min_conf": 0.2, "min_factor": 0.5, "metrics_port": 2},
    }
    assert warnings == []


@pytest.mark.parametrize("text", ["P31_MIN_CONF=0.7\n", "P31_SCALE=1\nGOV_MAX_EXEC_PER_HOUR=1\n"])
def test_an_ambiguous_port_is_a_warning_with_both_settings(tmp_path: Path, text: str) -> None:
    content, warnings = imported(tmp_path, text + "METRICS_PORT=9000\n")
    assert "metrics_port" not in content["allocation"] | content["governor"]
    assert warnings == [
        "file 0.env METRICS_PORT is skipped: the file could belong to either service; "
        "set allocation.metrics_port or governor.metrics_port"
    ]


def test_an_ambiguous_confidence_is_for_both(tmp_path: Path) -> None:
    content, _ = imported(tmp_path, "P31_MIN_CONF=0.7\n")
    assert content == {"allocation": {"min_conf": 0.7}, "governor": {"min_conf": 0.7}}


def test_host_port_and_database_become_a_url(tmp_path: Path) -> None:
    content, warnings = imported(tmp_path, "REDIS_HOST=prod\nREDIS_DB=2\n", "REDIS_PORT=7000\n")
    assert content == {"redis": {"url": "redis://prod:7000/2"}}
    assert warnings == [
        "redis.url = redis://prod:7000/2 (file 1.env REDIS_PORT) overrides "
        "redis://prod:6379/2 (file 0.env REDIS_HOST, REDIS_DB)"
    ]


def test_parts_of_a_url_are_skipped_if_there_is_a_whole_one(tmp_path: Path) -> None:
    content, warnings = imported(tmp_path, "REDIS_HOST=prod\nQTCTL_REDIS_URL=redis://h/1\n")
    assert content == {"redis": {"url": "redis://h/1"}}
    assert warnings == ["file 0.env REDIS_HOST is skipped: QTCTL_REDIS_URL is set as well"]


def test_a_later_file_wins_and_says_so_where_they_differ(tmp_path: Path) -> None:
    content, warnings = imported(tmp_path, "P31_SCALE=1\nP31_BASE=1\n", "P31_SCALE=2\nP31_BASE=1\n")
    assert content == {"allocation": {"scale": 2.0, "base": 1.0}}
    assert warnings == [
        "allocation.scale = 2.0 (file 1.env P31_SCALE) overrides 1.0 (file 0.env P31_SCALE)"
    ]


def test_an_unknown_variable_is_skipped_with_a_warning(tmp_path: Path) -> None:
    content, warnings = imported(
        tmp_path,
        "PYTHONUNBUFFERED=1\nGOV_MAX_EXEC_PER_MIN=1\nQTCTL_GOVERNOR_BATCHS=1\n"
        "QTCTL_CONFIG=/x\nexport P31_SCALE=1\n",
    )
    assert content == {}
    assert warnings == [
        "file 0.env: 'export P31_SCALE' is not a valid variable name; systemd skips it",
        "file 0.env PYTHONUNBUFFERED is unknown; skipped",
        "file 0.env GOV_MAX_EXEC_PER_MIN is unknown; skipped: did you mean GOV_MAX_EXEC_PER_5MIN?",
        "file 0.env QTCTL_GOVERNOR_BATCHS is unknown; skipped: did you mean QTCTL_GOVERNOR_BATCH?",
        "file 0.env QTCTL_CONFIG is not a setting; skipped",
    ]


def test_a_bad_value_names_file_and_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, "P31_SCALE=much\n")
    assert str(caught.value) == (
        f"allocation.scale = 'much' (file {tmp_path}/0.env P31_SCALE): expected a number, 0 or more"
    )


def test_impossible_settings_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"allocation\.min_mult = 2\.0 .*0\.env P31_MIN_MULT"):
        imported(tmp_path, "P31_MIN_MULT=2\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.env can't be read"):
        import_files([tmp_path / "missing.env"])
