"""Every bad value ends in one line that names the setting, the value and its source."""

from pathlib import Path

import pytest

from qtctl.errors import ConfigError
from qtctl.settings import fields, load

# Setting, TOML, how the error shows the value, what it says was expected.
BAD = [
    ("redis.url", '"http://h"', "'http://h'", "expected redis://, rediss://"),
    ("redis.url", '"redis://h:port/0"', "'redis://h:***/***'", "host or port"),
    ("redis.url", '"redis://h/zero"', "'redis://h/zero'", "database"),
    ("redis.url", '"redis://u:a#b@h/0"', "'redis://u:***@h/0'", "%23"),
    ("redis.url", '"redis://[::1/0"', "'redis://[:***/***'", "host or port"),
    ("redis.url", "6379", "6379", "a Redis URL"),
    ("redis.prefix", '""', "''", "printable ASCII"),
    ("redis.prefix", '"quan tum:"', "'quan tum:'", "printable ASCII"),
    ("redis.prefix", '"quantum:\\n"', "'quantum:\\n'", "printable ASCII"),
    ("redis.timeout_sec", "0", "0", "a number, over 0 to 3600"),
    ("redis.timeout_sec", "true", "true", "a number"),
    ("redis.connect_timeout_sec", '"1"', "'1'", "a number"),
    ("allocation.min_conf", "1.5", "1.5", "a number, 0 to 1"),
    ("allocation.min_conf", "-0.1", "-0.1", "a number, 0 to 1"),
    ("allocation.min_conf", "nan", "nan", "a number, 0 to 1"),
    ("allocation.stale_sec", "inf", "inf", "a number, 0 or more"),
    ("allocation.stale_sec", "[600]", "[600]", "a number"),
    ("allocation.stale_sec", "{a = 1}", "{'a': 1}", "a number"),
    ("allocation.stale_sec", "2020-01-01", "2020-01-01", "a number"),
    ("allocation.stale_sec", "1" + 400 * "0", "1000", "a number"),
    ("allocation.scale", "-1", "-1", "a number, 0 or more"),
    ("allocation.interval_sec", "0.05", "0.05", "a number, 0.1 to 3600"),
    ("allocation.propose_key_ttl_sec", "-1", "-1", "a whole number, 1 to 31536000"),
    ("allocation.propose_key_ttl_sec", "600.0", "600.0", "a whole number"),
    ("allocation.stream_maxlen", "0", "0", "a whole number"),
    ("allocation.metrics_port", "65536", "65536", "a whole number, 0 to 65535"),
    ("allocation.name", '"a b"', "'a b'", "letters, digits"),
    ("governor.permit_ttl_sec", "3601", "3601", "1 to 3600"),
    ("governor.permit_encoding", '"xml"', "'xml'", "json or hash"),
    ("governor.max_plan_age_sec", "0", "0", "1 to 3600"),
    ("governor.max_queue_age_sec", "3601", "3601", "1 to 3600"),
    ("governor.symbol_cooldown_sec", "3601", "3601", "0 to 3600"),
    ("governor.batch", "5001", "5001", "1 to 5000"),
    ("governor.max_exec_per_hour", "-1", "-1", "a whole number"),
    ("governor.kill_keys", "[]", "[]", "1 to 16 of them"),
    ("governor.kill_keys", '"kill"', "'kill'", "a list of text"),
    ("governor.kill_keys", '["a b"]', "['a b']", "letters, digits"),
    ("governor.kill_keys", str(["k"] * 17), "['k', 'k'", "1 to 16 of them"),
    ("governor.require", '["qty"]', "['qty']", "kill_score, price or action"),
    ("governor.close_actions", "[1]", "[1]", "a list of text"),
    ("safety.allow_eviction", "1", "1", "true or false"),
    ("safety.allow_eviction", '"yes"', "'yes'", "true or false"),
    ("logging.level", '"INFO"', "'INFO'", "debug, info, warning or error"),
]

FROM_TEXT = [
    ("allocation.min_conf", "1.5"),
    ("allocation.min_conf", "high"),
    ("governor.batch", "5.0"),
    ("governor.batch", "9" * 5000),
    ("governor.kill_keys", '["kill"]x'),
    ("governor.kill_keys", "[kill]"),
    ("governor.require", "price,qty"),
    ("governor.permit_encoding", "xml"),
    ("safety.allow_eviction", "maybe"),
    ("redis.url", "localhost:6379"),
    ("governor.stream_plans", "a b"),
    ("governor.stream_plans", "a\nb"),
    ("governor.stream_plans", "a\udc80"),
]


def told(*, toml: Path | None = None, environ: dict[str, str] | None = None, sets: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        load(config=toml, environ=environ or {}, sets=[sets] if sets else [])
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


@pytest.mark.parametrize(("path", "toml", "value", "expected"), BAD)
def test_a_bad_value_in_the_file(
    tmp_path: Path, path: str, toml: str, value: str, expected: str
) -> None:
    file = tmp_path / "q.toml"
    section, _, key = path.partition(".")
    file.write_text(f"[{section}]\n{key} = {toml}\n")
    text = told(toml=file)
    assert text.startswith(f"{path} = {value}")
    assert f"(file {file}): " in text
    assert expected in text.partition(f"(file {file}): ")[2]


@pytest.mark.parametrize(("path", "text"), FROM_TEXT)
def test_a_bad_value_in_the_environment_and_in_set(path: str, text: str) -> None:
    variable = f"QTCTL_{path}".upper().replace(".", "_")
    assert told(environ={variable: text}).startswith(f"{path} = ")
    assert f"(environment {variable}): " in told(environ={variable: text})
    assert told(sets=f"{path}={text}").startswith(f"{path} = ")
    assert "(--set): " in told(sets=f"{path}={text}")


@pytest.mark.parametrize(
    "assignment",
    [
        "governor.kill_keys=[]",
        'governor.kill_keys="kill"',
        'governor.require={a = "price"}',
        'allocation.min_conf="0.5"',
        'safety.allow_eviction="true"',
        'governor.name=["a"]',
        "governor.name='a'\nx = 1",
        "governor.batch=1\nx = 1",
    ],
)
def test_set_does_not_take_toml_of_a_wrong_type_for_plain_text(assignment: str) -> None:
    assert told(sets=assignment).startswith(assignment.partition("=")[0] + " = ")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[governer]\nbatch = 1", "unknown section governer (file {}): did you mean governor?"),
        ("[governor]\nbatchs = 1",
         "unknown setting governor.batchs (file {}): did you mean governor.batch?"),
        ("[allocation]\neff_ttl_sec = 1",
         "unknown setting allocation.eff_ttl_sec (file {}): did you mean governor.eff_ttl_sec?"),
        ("batch = 1", "unknown section batch (file {}): did you mean governor.batch?"),
        ('[redis]\nzzz = "pw"', "unknown setting redis.zzz (file {})"),
        ('["a\\nb"]\nx = 1', "unknown section 'a\\nb' (file {})"),
        ('redis = "redis://u:pw@h"',
         "redis = 'redis://u:***@h' (file {}): redis is a section; "
         "write [redis] and its settings below"),
        ("[[redis]]\n",
         "redis = [{{}}] (file {}): redis is a section; write [redis] and its settings below"),
    ],
)  # fmt: skip
def test_an_unknown_name_in_the_file(tmp_path: Path, toml: str, message: str) -> None:
    file = tmp_path / "q.toml"
    file.write_text(toml)
    assert told(toml=file) == message.format(file)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("governor.min_cnf=1", "unknown setting governor.min_cnf (--set): "
         "did you mean governor.min_conf?"),
        ("batch=1", "unknown setting batch (--set): did you mean governor.batch?"),
        ("governor.batch", "--set 'governor.batch': expected SECTION.KEY=VALUE"),
        ("redis://u:pw@h", "--set 'redis://u:***@h': expected SECTION.KEY=VALUE"),
        ("redis://u:pw@h?a=b", "unknown setting 'redis://u:***@h?***' (--set)"),
    ],
)  # fmt: skip
def test_an_unknown_name_in_set(assignment: str, message: str) -> None:
    assert told(sets=assignment) == message


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"[redis]\nurl = \n", "line 2"),
        (b"[redis]\n\n[redis]\n", "line 3"),
        (b"[redis", "end of document"),
        (b"x = " + 4000 * b"[", "not TOML"),
    ],
)
def test_a_file_that_is_not_toml_names_its_line(tmp_path: Path, raw: bytes, line: str) -> None:
    file = tmp_path / "q.toml"
    file.write_bytes(raw)
    text = told(toml=file)
    assert text.startswith(f"file {file} is not TOML: ")
    assert line in text


def test_a_file_that_is_not_utf8_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_bytes(b"[redis]\n# \xff\n")
    assert told(toml=file) == f"file {file} is not UTF-8 (at line 2)"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert told(toml=tmp_path) == f"file {tmp_path} can't be read: Is a directory"


def test_a_default_file_that_is_broken_is_an_error(default_file: Path) -> None:
    default_file.write_text("not toml")
    assert str(default_file) in told()


def test_a_bad_url_flag_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load(config=None, environ={}, redis_url="http://u:pw@h")
    assert str(caught.value).startswith("redis.url = 'http://u:***@h' (--redis-url): expected ")


def test_every_setting_refuses_some_value() -> None:
    for field in fields():
        with pytest.raises(ConfigError):
            load(config=None, environ={field.variable: "no \x00 such \x1b value"})
