"""defaults < TOML < old names < new names < --set and --redis-url, and what tells of it."""

from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import Loaded, Settings, load

TOML = """
[allocation]
min_conf = 0.1
scale = 2

[redis]
url = "redis://file:1/1"
"""


def conf(loaded: Loaded) -> tuple[float, str]:
    """allocation.min_conf and where it comes from."""
    return loaded.settings.allocation.min_conf, loaded.origins["allocation.min_conf"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text(TOML)
    return path


def test_without_any_source_all_is_default() -> None:
    loaded = load(config=None, environ={})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.overruled == {}
    assert loaded.warnings == []
    assert loaded.file is None
    assert loaded.explicit_url is False


def test_each_source_beats_the_one_before(file: Path) -> None:
    old, new = {"P31_MIN_CONF": "0.2"}, {"QTCTL_ALLOCATION_MIN_CONF": "0.3"}
    sets = ["allocation.min_conf=0.4"]
    assert conf(load(config=None, environ={})) == (0.65, "default")
    assert conf(load(config=file, environ={})) == (0.1, f"file {file}")
    assert conf(load(config=file, environ=old)) == (0.2, "environment P31_MIN_CONF")
    assert conf(load(config=file, environ=new | old)) == (
        0.3,
        "environment QTCTL_ALLOCATION_MIN_CONF",
    )
    assert conf(load(config=file, environ=new | old, sets=sets)) == (0.4, "--set")


def test_what_was_overruled_is_kept_weakest_first(file: Path) -> None:
    loaded = load(
        config=file,
        environ={"P31_MIN_CONF": "0.2", "QTCTL_ALLOCATION_MIN_CONF": "0.3"},
        sets=["allocation.min_conf=0.4"],
    )
    assert loaded.overruled == {
        "allocation.min_conf": [
            (f"file {file}", "0.1"),
            ("environment P31_MIN_CONF", "0.2"),
            ("environment QTCTL_ALLOCATION_MIN_CONF", "0.3"),
        ]
    }


def test_an_overruled_password_is_not_kept(file: Path) -> None:
    file.write_text('[redis]\nurl = "redis://u:secret@h"\n')
    loaded = load(config=file, environ={}, redis_url="redis://h2")
    assert loaded.overruled["redis.url"] == [(f"file {file}", "redis://u:***@h")]


def test_overruled_values_are_written_as_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[governor]\nrequire = ["price", "action"]\n[safety]\nallow_eviction = true\n')
    sets = ["governor.require=", "safety.allow_eviction=false"]
    assert load(config=file, environ={}, sets=sets).overruled == {
        "governor.require": [(f"file {file}", "price,action")],
        "safety.allow_eviction": [(f"file {file}", "true")],
    }


def test_the_last_of_two_sets_wins() -> None:
    loaded = load(config=None, environ={}, sets=["governor.batch=1", "governor.batch=2"])
    assert loaded.settings.governor.batch == 2


def test_an_int_fits_a_float(file: Path) -> None:
    scale = load(config=file, environ={}).settings.allocation.scale
    assert scale == 2.0
    assert isinstance(scale, float)


@pytest.mark.parametrize(
    ("environ", "sets", "redis_url", "url", "origin", "explicit"),
    [
        ({}, [], None, "redis://file:1/1", "file", False),
        ({"QTCTL_REDIS_URL": "redis://env"}, [], None, "redis://env", "environment", False),
        ({"QTCTL_REDIS_URL": "redis://env"}, ["redis.url=redis://set"], None, "redis://set",
         "--set", True),
        ({}, ["redis.url=redis://set"], "redis://flag", "redis://flag", "--redis-url", True),
        ({"REDIS_HOST": "old"}, [], "embedded:", "embedded:", "--redis-url", True),
    ],
)  # fmt: skip
def test_the_url_follows_the_same_order(
    file: Path,
    environ: dict[str, str],
    sets: list[str],
    redis_url: str | None,
    url: str,
    origin: str,
    explicit: bool,
) -> None:
    loaded = load(config=file, environ=environ, sets=sets, redis_url=redis_url)
    assert loaded.settings.redis.url == url
    assert loaded.origins["redis.url"].startswith(origin)
    assert loaded.explicit_url is explicit


def test_config_beats_qtctl_config_beats_the_default_file(
    default_file: Path, tmp_path: Path
) -> None:
    default_file.write_text("[governor]\nbatch = 1\n")
    variable, option = tmp_path / "variable.toml", tmp_path / "option.toml"
    variable.write_text("[governor]\nbatch = 2\n")
    option.write_text("[governor]\nbatch = 3\n")
    environ = {"QTCTL_CONFIG": str(variable)}
    found = [
        load(config=None, environ={}),
        load(config=None, environ=environ),
        load(config=option, environ=environ),
    ]
    assert [loaded.settings.governor.batch for loaded in found] == [1, 2, 3]
    assert [loaded.file for loaded in found] == [default_file, variable, option]


def test_an_empty_qtctl_config_is_none(default_file: Path) -> None:
    default_file.write_text("[governor]\nbatch = 1\n")
    assert load(config=None, environ={"QTCTL_CONFIG": ""}).settings.governor.batch == 1


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "missing.toml"
    with pytest.raises(ConfigError) as by_option:
        load(config=path, environ={})
    with pytest.raises(ConfigError) as by_variable:
        load(config=None, environ={"QTCTL_CONFIG": str(path)})
    assert str(by_option.value) == f"file {path} (--config) does not exist"
    assert str(by_variable.value) == f"file {path} (QTCTL_CONFIG) does not exist"


@pytest.mark.parametrize("prefix", ["other:", "{quantum}:"])
def test_streams_follow_the_prefix_unless_set(prefix: str) -> None:
    loaded = load(
        config=None,
        environ={"STREAM_PLANS": "my.plans"},
        sets=[f"redis.prefix={prefix}"],
    )
    governor = loaded.settings.governor
    assert loaded.settings.allocation.stream_proposed == (
        f"{prefix}stream:allocation.target.proposed"
    )
    assert governor.stream_events == f"{prefix}stream:governor.events"
    assert governor.stream_rejected == f"{prefix}stream:governor.rejected"
    assert governor.stream_plans == "my.plans"
    assert loaded.origins["governor.stream_events"] == "default"


@pytest.mark.parametrize(
    ("assignment", "section", "key", "value"),
    [
        ("governor.require=price", "governor", "require", ("price",)),
        ("governor.require=price, action", "governor", "require", ("price", "action")),
        ('governor.require=["price"]', "governor", "require", ("price",)),
        ("governor.require=", "governor", "require", ()),
        ("allocation.min_conf=0", "allocation", "min_conf", 0.0),
        ("governor.batch=1_000", "governor", "batch", 1000),
        ("governor.name=5", "governor", "name", "5"),
        ('governor.name="5"', "governor", "name", "5"),
        ("governor.name=", "governor", "name", ""),
        ("safety.allow_eviction=true", "safety", "allow_eviction", True),
        ("safety.allow_eviction=yes", "safety", "allow_eviction", True),
        ("safety.allow_live_proof=0", "safety", "allow_live_proof", False),
        ("redis.prefix = q:", "redis", "prefix", "q:"),
        ("logging.level=debug", "logging", "level", "debug"),
    ],
)
def test_set_takes_toml_where_it_fits_and_plain_text_else(
    assignment: str, section: str, key: str, value: object
) -> None:
    settings = load(config=None, environ={}, sets=[assignment]).settings
    assert getattr(getattr(settings, section), key) == value
