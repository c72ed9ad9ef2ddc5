"""The rules for variables: old names, comments behind values, parts of a URL, METRICS_PORT."""

from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import Settings, fields, load

OLD_NAMES = {
    "P31_STALE_SEC": ("allocation.stale_sec", "5", 5.0),
    "P31_MIN_MULT": ("allocation.min_mult", "0.25", 0.25),
    "P31_MAX_MULT": ("allocation.max_mult", "2", 2.0),
    "P31_SCALE": ("allocation.scale", "3", 3.0),
    "P31_BASE": ("allocation.base", "1e-1", 0.1),
    "LOOP_INTERVAL_SEC": ("allocation.interval_sec", "1.5", 1.5),
    "PROPOSE_STREAM_NAME": ("allocation.stream_proposed", "p", "p"),
    "PROPOSE_KEY_TTL": ("allocation.propose_key_ttl_sec", "60", 60),
    "P31_DOWNSIZE_THRESHOLD": ("governor.downsize_threshold", ".5", 0.5),
    "P31_MIN_FACTOR": ("governor.min_factor", "0.1", 0.1),
    "P31_MAX_EXTRA_COOLDOWN_SEC": ("governor.max_extra_cooldown_sec", "9", 9.0),
    "P31_EFF_TTL_SEC": ("governor.eff_ttl_sec", "7", 7.0),
    "STREAM_PLANS": ("governor.stream_plans", "pl", "pl"),
    "STREAM_EVENTS": ("governor.stream_events", "ev", "ev"),
    "GOV_MAX_QUEUE_AGE_SEC": ("governor.max_queue_age_sec", "4", 4.0),
    "GOV_MAX_PLAN_AGE_SEC": ("governor.max_plan_age_sec", "44", 44.0),
    "GOV_KILL_SCORE_CRITICAL": ("governor.kill_score_critical", "0.9", 0.9),
    "GOV_MAX_NOTIONAL_PER_TRADE_USDT": ("governor.max_notional_per_trade_usd", "99", 99.0),
    "GOV_SYMBOL_COOLDOWN_SECONDS": ("governor.symbol_cooldown_sec", "8", 8.0),
    "GOV_REOPEN_COOLDOWN_SECONDS": ("governor.reopen_cooldown_sec", "9", 9.0),
    "GOV_MAX_EXEC_PER_5MIN": ("governor.max_exec_per_5min", "6", 6),
    "GOV_MAX_EXEC_PER_HOUR": ("governor.max_exec_per_hour", "60", 60),
    "GOV_MAX_OPENS_PER_5MIN_TOTAL": ("governor.max_opens_per_5min_total", "11", 11),
}

SEED_ALLOCATION = {
    "P31_MIN_CONF": "0.65              # Minimum confidence threshold",
    "P31_STALE_SEC": "600              # Stale data threshold",
    "P31_MIN_MULT": "0.5               # Min multiplier (0.5-1.5 range)",
    "P31_MAX_MULT": "1.5               # Max multiplier",
    "P31_SCALE": "1.0                  # Score-to-mult scale factor",
    "P31_BASE": "1.0                   # Base multiplier at score=0.5",
    "LOOP_INTERVAL_SEC": "10           # Processing interval",
    "METRICS_PORT": "8065              # Prometheus port",
}
SEED_GOVERNOR = {
    "P31_MIN_CONF": "0.65                      # Min confidence to use data",
    "P31_DOWNSIZE_THRESHOLD": "0.45            # Score threshold for downsize",
    "P31_MIN_FACTOR": "0.25                    # Min cap reduction (25%)",
    "P31_MAX_EXTRA_COOLDOWN_SEC": "120         # Max extra cooldown",
    "P31_EFF_TTL_SEC": "600                    # Treat older as stale",
}


def value_of(settings: Settings, path: str) -> object:
    section, _, key = path.partition(".")
    return getattr(getattr(settings, section), key)


def error(environ: dict[str, str], service: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config=None, environ=environ, service=service)
    return str(caught.value)


@pytest.mark.parametrize("name", OLD_NAMES)
def test_an_old_name_sets_what_it_always_set(name: str) -> None:
    path, text, value = OLD_NAMES[name]
    loaded = load(config=None, environ={name: text})
    assert value_of(loaded.settings, path) == value
    assert loaded.origins[path] == f"environment {name}"
    assert [origin for origin in loaded.origins.values() if origin != "default"] == [
        f"environment {name}"
    ]
    assert loaded.warnings == []


def test_no_old_name_is_untested() -> None:
    special = {"P31_MIN_CONF", "METRICS_PORT", "METRICS_ADDR"}
    special |= {"REDIS_HOST", "REDIS_PORT", "REDIS_DB"}
    assert {name for field in fields() for name in field.env} == special | OLD_NAMES.keys()


def test_the_old_min_conf_sets_both_sections_and_either_new_name_beats_it() -> None:
    settings = load(
        config=None, environ={"P31_MIN_CONF": "0.7", "QTCTL_GOVERNOR_MIN_CONF": "0.8"}
    ).settings
    assert settings.allocation.min_conf == 0.7
    assert settings.governor.min_conf == 0.8


def test_every_setting_has_its_new_name() -> None:
    for field in fields():
        value = field.default
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        loaded = load(config=None, environ={field.variable: text})
        assert loaded.settings == Settings()
        name = f"QTCTL_{field.section.upper()}_{field.key.upper()}"
        assert loaded.origins[field.path] == f"environment {name}"


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", "TRUE", "On"])
def test_words_for_yes(text: str) -> None:
    environ = {"QTCTL_SAFETY_ALLOW_EVICTION": text}
    assert load(config=None, environ=environ).settings.safety.allow_eviction is True


@pytest.mark.parametrize("text", ["false", "0", "no", "off"])
def test_words_for_no(text: str) -> None:
    environ = {"QTCTL_SAFETY_ALLOW_LIVE_PROOF": text}
    assert load(config=None, environ=environ).settings.safety.allow_live_proof is False


@pytest.mark.parametrize(
    "text", ["0x1", "1_0", "nan", "inf", "-inf", "1e999", "", "0,5", "٣", "+1"]
)
def test_only_finite_decimals_are_numbers(text: str) -> None:
    told = error({"P31_SCALE": text})
    assert told.startswith("allocation.scale = ")
    assert "(environment P31_SCALE): expected a number, 0 or more" in told


def test_lists_are_comma_separated() -> None:
    environ = {"QTCTL_GOVERNOR_KILL_KEYS": "kill, stop:all ,"}
    assert load(config=None, environ=environ).settings.governor.kill_keys == ("kill", "stop:all")


def test_the_environment_is_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P31_MIN_CONF", "0.1")
    assert load(config=None, environ={}).settings == Settings()


# Comments behind values


@pytest.mark.parametrize(
    ("service", "environ"), [("allocation", SEED_ALLOCATION), ("governor", SEED_GOVERNOR)]
)
def test_trailing_comments_leave_the_right_values_and_one_warning_each(
    service: str, environ: dict[str, str]
) -> None:
    loaded = load(config=None, environ=environ, service=service)
    assert loaded.settings == Settings()
    assert len(loaded.warnings) == len(environ)
    for name, text in environ.items():
        (warning,) = [warning for warning in loaded.warnings if name in warning]
        assert warning.endswith(f"; using {text.split()[0]}")


@pytest.mark.parametrize("text", ["0.7 # c", "0.7\t#c", " 0.7  ## c # d", "0.7 #"])
def test_a_value_ends_before_a_blank_and_a_hash(text: str) -> None:
    loaded = load(config=None, environ={"P31_SCALE": text})
    assert loaded.settings.allocation.scale == 0.7
    assert loaded.warnings == ["environment P31_SCALE: ignored the trailing comment; using 0.7"]


def test_a_hash_without_a_blank_is_part_of_the_value() -> None:
    loaded = load(config=None, environ={"STREAM_PLANS": "a#b"})
    assert loaded.settings.governor.stream_plans == "a#b"
    assert loaded.warnings == []


def test_a_comment_alone_is_an_empty_value() -> None:
    assert "allocation.scale = '' " in error({"P31_SCALE": "# nothing"})


def test_a_warning_shows_no_password() -> None:
    loaded = load(config=None, environ={"QTCTL_REDIS_URL": "redis://u:secret@h # prod"})
    assert loaded.settings.redis.url == "redis://u:secret@h"
    assert len(loaded.warnings) == 1
    assert "secret" not in loaded.warnings[0]


# Unknown names


def test_an_unknown_old_variable_is_one_warning() -> None:
    loaded = load(
        config=None, environ={"GOV_MAX_EXEC_PER_MIN": "1", "P31_COLOUR": "blue", "PATH": "/bin"}
    )
    assert loaded.settings == Settings()
    assert loaded.warnings == [
        "environment GOV_MAX_EXEC_PER_MIN is not a setting of qtctl and is ignored: "
        "did you mean GOV_MAX_EXEC_PER_5MIN?",
        "environment P31_COLOUR is not a setting of qtctl and is ignored",
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("QTCTL_GOVERNOR_MIN_CONFF", "QTCTL_GOVERNOR_MIN_CONF"),
        ("QTCTL_GOVERNER_BATCH", "QTCTL_GOVERNOR_BATCH"),
        ("QTCTL_REDIS_URI", "QTCTL_REDIS_URL"),
    ],
)
def test_an_unknown_new_variable_is_an_error_with_the_nearest_name(name: str, near: str) -> None:
    assert error({name: "1"}) == (
        f"unknown setting {name} (environment {name}): did you mean {near}?"
    )


# Parts of a URL


@pytest.mark.parametrize(
    ("base", "environ", "url"),
    [
        (None, {"REDIS_HOST": "prod"}, "redis://prod:6379/0"),
        (None, {"REDIS_PORT": "7000"}, "redis://127.0.0.1:7000/0"),
        (None, {"REDIS_DB": "3"}, "redis://127.0.0.1:6379/3"),
        (None, {"REDIS_HOST": "::1", "REDIS_DB": "3"}, "redis://[::1]:6379/3"),
        ("rediss://u:p%40@h?a=b", {"REDIS_HOST": "x", "REDIS_PORT": "1"}, "rediss://u:p%40@x:1?a=b"),
        ("redis://[fe80::1]:5/2", {"REDIS_PORT": "6"}, "redis://[fe80::1]:6/2"),
        ("redis://h/2?db=4&x=1", {"REDIS_DB": "9"}, "redis://h/9?x=1"),
    ],
)  # fmt: skip
def test_old_redis_names_replace_those_parts_of_a_url_from_toml(
    default_file: Path, base: str | None, environ: dict[str, str], url: str
) -> None:
    if base is not None:
        default_file.write_text(f'[redis]\nurl = "{base}"\n')
    loaded = load(config=None, environ=environ)
    assert loaded.settings.redis.url == url
    assert loaded.origins["redis.url"] == f"environment {', '.join(environ)}"


@pytest.mark.parametrize("base", ["unix:///run/r.sock", "embedded:", "redis+sentinel://h:1/s/0"])
def test_old_redis_names_beside_a_url_without_such_parts_are_refused(
    default_file: Path, base: str
) -> None:
    default_file.write_text(f'[redis]\nurl = "{base}"\n')
    told = error({"REDIS_HOST": "prod"})
    assert base in told
    assert "REDIS_HOST" in told
    assert "QTCTL_REDIS_URL" in told


def test_old_redis_names_are_ignored_beside_a_whole_url() -> None:
    environ = {"REDIS_PORT": "http://10.0.0.1:6379", "REDIS_HOST": "no"}
    by_name = load(config=None, environ=environ | {"QTCTL_REDIS_URL": "redis://h:1/0"})
    assert by_name.settings.redis.url == "redis://h:1/0"
    by_flag = load(config=None, environ=environ, redis_url="redis://f:1/0")
    assert by_flag.settings.redis.url == "redis://f:1/0"
    by_set = load(config=None, environ=environ, sets=["redis.url=redis://s:1/0"])
    assert by_set.settings.redis.url == "redis://s:1/0"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REDIS_PORT", "0"),
        ("REDIS_PORT", "65536"),
        ("REDIS_PORT", "http://10.0.0.1:6379"),
        ("REDIS_DB", "-1"),
        ("REDIS_DB", "one"),
        ("REDIS_HOST", "a/b"),
        ("REDIS_HOST", "u@h"),
        ("REDIS_HOST", ""),
    ],
)
def test_a_bad_part_of_a_url_names_its_variable(name: str, text: str) -> None:
    told = error({name: text})
    assert told.startswith("redis.url = ")
    assert f"(environment {name})" in told


# METRICS_PORT and METRICS_ADDR


@pytest.mark.parametrize(("service", "other"), [("allocation", 8044), ("governor", 8065)])
def test_metrics_names_count_for_the_service_that_is_served(service: str, other: int) -> None:
    environ = {"METRICS_PORT": "9999", "METRICS_ADDR": "0.0.0.0"}
    settings = load(config=None, environ=environ, service=service).settings
    served = getattr(settings, service)
    beside = settings.governor if service == "allocation" else settings.allocation
    assert (served.metrics_port, served.metrics_addr) == (9999, "0.0.0.0")
    assert (beside.metrics_port, beside.metrics_addr) == (other, "127.0.0.1")


def test_metrics_names_are_ignored_by_other_commands() -> None:
    loaded = load(config=None, environ={"METRICS_PORT": "no port", "METRICS_ADDR": "0.0.0.0"})
    assert loaded.settings == Settings()
    assert loaded.warnings == []


def test_metrics_port_in_serve_all_is_refused_with_the_two_settings_to_use() -> None:
    told = error({"METRICS_PORT": "9999"}, service="all")
    assert "allocation.metrics_port and governor.metrics_port" in told
    assert "(environment METRICS_PORT)" in told


def test_metrics_addr_in_serve_all_is_ignored() -> None:
    loaded = load(config=None, environ={"METRICS_ADDR": "0.0.0.0"}, service="all")
    assert loaded.settings == Settings()


def test_the_new_name_of_a_port_beats_the_old_one() -> None:
    environ = {"METRICS_PORT": "1", "QTCTL_GOVERNOR_METRICS_PORT": "2"}
    loaded = load(config=None, environ=environ, service="governor")
    assert loaded.settings.governor.metrics_port == 2
