"""Contexts: which Redis counts where several sources name one, and what never mixes."""

from pathlib import Path
from typing import Any

import pytest

from qtctl.errors import ConfigError, QtctlError, UsageError
from qtctl.settings import contexts, load
from qtctl.settings.contexts import KEYS
from qtctl.settings.load import Loaded

FILE = """\
[redis]
url = "redis://file/0"
username = "of-file"
password_file = "/of/file"
prefix = "file:"
timeout_sec = 7.0
[contexts.prod]
url = "rediss://prod/1"
username = "operator"
password_file = "{password}"
prefix = "p:"
tls_ca_file = "/ca.pem"
protected = true
[contexts.dev]
url = "redis://dev/2"
"""
FLAG, SET = {"redis_url": "redis://flag/3"}, {"sets": ("redis.url=redis://set/4",)}
VARIABLE, OLD = {"QTCTL_REDIS_URL": "redis://variable/5"}, {"REDIS_HOST": "old", "REDIS_PORT": "1"}
PROD, DEV = {"context": "prod"}, {"QTCTL_CONTEXT": "dev"}
BOTH = "can't be combined"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    file = tmp_path / "qtctl.toml"
    file.write_text(FILE.format(password=secret))
    return file


def loaded(file: Path | None, environ: dict[str, str] | None = None, **more: Any) -> Loaded:
    return load(config=file, environ=environ or {}, **more)


@pytest.mark.parametrize(
    ("options", "environ", "url", "warned"),
    [
        # Without a context, as ever.
        ({}, {}, "redis://file/0", ""),
        ({}, OLD, "redis://old:1/0", ""),
        ({}, OLD | VARIABLE, "redis://variable/5", ""),
        (FLAG, OLD | VARIABLE, "redis://flag/3", ""),
        (SET, OLD | VARIABLE, "redis://set/4", ""),
        # --context beats the file and the environment, another context there included.
        (PROD, {}, "rediss://prod/1", ""),
        (PROD, OLD, "rediss://prod/1", ""),
        (PROD, VARIABLE, "rediss://prod/1", ""),
        (PROD, DEV, "rediss://prod/1", ""),
        (PROD, DEV | VARIABLE | OLD, "rediss://prod/1", ""),
        # $QTCTL_CONTEXT beats the file, and other variables with a warning.
        ({}, DEV, "redis://dev/2", ""),
        ({}, DEV | OLD, "redis://dev/2", "REDIS_HOST, REDIS_PORT are not used"),
        ({}, DEV | VARIABLE, "redis://dev/2", "QTCTL_REDIS_URL is not used"),
        # A URL on the command line beats $QTCTL_CONTEXT, with a warning; beside --context it is
        # a contradiction.
        (FLAG, DEV, "redis://flag/3", "the context dev (environment QTCTL_CONTEXT) is not used"),
        (SET, DEV | VARIABLE, "redis://set/4", "the context dev"),
        (PROD | FLAG, {}, None, BOTH),
        (PROD | SET, DEV, None, BOTH),
        # An empty variable names nothing.
        ({}, {"QTCTL_CONTEXT": ""}, "redis://file/0", ""),
    ],
)
def test_which_redis_it_is(
    file: Path, options: dict[str, Any], environ: dict[str, str], url: str | None, warned: str
) -> None:
    if url is None:
        with pytest.raises(UsageError, match=warned):
            loaded(file, environ, **options)
        return
    found = loaded(file, environ, **options)
    assert found.settings.redis.url == url
    assert (warned in " ".join(found.warnings)) if warned else not found.warnings
    in_force = None if found.context is None else found.context.name
    assert in_force == {"rediss://prod/1": "prod", "redis://dev/2": "dev"}.get(url)


def test_a_context_stands_instead_of_the_whole_section(file: Path) -> None:
    environ = {"QTCTL_REDIS_USERNAME": "of-env", "QTCTL_REDIS_PREFIX": "env:"}
    found = loaded(file, environ, context="dev")
    redis = found.settings.redis
    assert (redis.username, redis.password_file, redis.prefix) == ("", "", "quantum:")
    assert found.settings.governor.stream_plans == "quantum:stream:apply.plan"
    assert found.password is None
    assert redis.timeout_sec == 7.0  # how patient we are says nothing about who and where
    redis = loaded(file, environ, context="prod").settings.redis
    assert (redis.username, redis.prefix, redis.tls_ca_file) == ("operator", "p:", "/ca.pem")
    # One setting on the command line is meant.
    assert loaded(file, context="prod", sets=("redis.prefix=x:",)).settings.redis.prefix == "x:"


@pytest.mark.parametrize(
    "environ", [{"QTCTL_REDIS_PASSWORD": "other"}, {"CREDENTIALS_DIRECTORY": "{}"}]
)
def test_no_password_of_another_server_reaches_a_context(
    file: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "redis-password").write_text("other\n")
    environ = {name: text.format(tmp_path) for name, text in environ.items()}
    prod = loaded(file, environ, context="prod").password
    assert prod is not None
    assert prod.read() == "hush"
    assert loaded(file, environ, context="dev").password is None
    without = loaded(None, environ, content="").password
    assert without is not None
    assert without.read() == "other"


def test_where_a_value_comes_from_and_what_it_overrules(file: Path) -> None:
    found = loaded(file, VARIABLE, context="prod")
    assert found.origins["redis.url"] == f"file {file} [contexts.prod]"
    assert found.origins["redis.tls_key_file"] == "default"
    assert [url for _, url in found.overruled["redis.url"]] == [
        "redis://file/0",
        "redis://variable/5",
    ]
    assert found.context_origin == "--context"
    assert [(each.name, each.protected) for each in found.contexts] == [
        ("prod", True),
        ("dev", False),
    ]


@pytest.mark.parametrize(
    ("options", "environ", "kind"),
    [
        ({"context": "prdo"}, {}, UsageError),
        ({}, {"QTCTL_CONTEXT": "prdo"}, ConfigError),
        ({"context": ""}, {}, UsageError),
        ({"context": "a b"}, {}, UsageError),
    ],
)
def test_an_unknown_context_names_those_that_are_known(
    file: Path, options: dict[str, Any], environ: dict[str, str], kind: type[QtctlError]
) -> None:
    for lenient in (False, True):
        with pytest.raises(kind, match="unknown context") as refused:
            loaded(file, environ, lenient=lenient, **options)
        assert "dev, prod" in str(refused.value)
    if "prdo" in (*options.values(), *environ.values()):
        assert "did you mean prod?" in str(refused.value)


def test_without_any_context_an_unknown_one_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.touch()
    with pytest.raises(UsageError, match=r"has no \[contexts\.NAME\]"):
        loaded(empty, context="prod")


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ('contexts = "prod"', r"contexts = 'prod' .*write \[contexts\.NAME\]"),
        ('contexts.a = "redis://h"', r"contexts\.a = 'redis://h' .*write \[contexts\.a\]"),
        ('[contexts.a]\nurl = "redis://h"\nurll = 1', r"contexts\.a\.urll .*did you mean url"),
        ('[contexts.a]\nurl = "redis://h"\ntimeout_sec = 1', r"unknown .*contexts\.a\.timeout_sec"),
        ('[contexts.a]\nprefix = "q:"', r"contexts\.a .*has no url"),
        ('[contexts.a]\nurl = "http://h"', r"contexts\.a\.url = 'http://h' .*expected redis://"),
        ("[contexts.a]\nurl = 1", r"contexts\.a\.url = 1 "),
        ('[contexts.a]\nurl = "redis://h"\nprotected = "yes"', r"protected = 'yes'.*true or false"),
        ('[contexts."a b"]\nurl = "redis://h"', r"'a b'.*letters, digits, _ and -"),
        ('[contexts.a.b]\nurl = "redis://h"', r"unknown setting contexts\.a\.b"),
        ('[contexts.a]\nurl = "redis://u:hush@h:x/0"', r"contexts\.a\.url"),
    ],
)
def test_what_is_wrong_with_a_context_is_one_line_that_names_it(
    tmp_path: Path, toml: str, problem: str
) -> None:
    file = tmp_path / "q.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError, match=problem) as refused:
        loaded(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "hush" not in str(refused.value)
    # A service does not depend on it, and a halt goes on.
    assert loaded(file, service="governor").settings.redis.url == "redis://127.0.0.1:6379/0"
    assert loaded(file, lenient=True).warnings


def test_a_broken_file_keeps_no_halt_from_another_redis(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[")
    for options in ({"context": "prod"}, {}):
        environ = {} if options else {"QTCTL_CONTEXT": "prod"}
        with pytest.raises(ConfigError, match=r"context prod is in it; .*--redis-url"):
            loaded(file, environ, lenient=True, **options)
    found = loaded(file, DEV, lenient=True, redis_url="redis://h/0")
    assert found.settings.redis.url == "redis://h/0"


def test_every_setting_that_says_who_and_where_can_stand_in_a_context(tmp_path: Path) -> None:
    values = {
        "url": "rediss://h/0", "prefix": "x:", "username": "u", "password_file": "/p",
        "tls_ca_file": "/ca", "tls_cert_file": "/c", "tls_key_file": "/k",
        "tls_check_hostname": False,
    }  # fmt: skip
    assert set(KEYS) == set(values)
    lines = [f"{key} = {str(value).lower() if value is False else f'{value!r}'}"
             for key, value in values.items()]  # fmt: skip
    file = tmp_path / "q.toml"
    file.write_text("\n".join(["[contexts.a]", *lines]))
    redis = loaded(file, context="a").settings.redis
    assert {key: getattr(redis, key) for key in values} == values


def test_names_are_found_whatever_else_is_wrong(file: Path, tmp_path: Path) -> None:
    assert contexts.names(file, {}) == ["dev", "prod"]
    assert contexts.names(None, {"QTCTL_CONFIG": str(file)}) == ["dev", "prod"]
    odd = tmp_path / "odd.toml"
    odd.write_text('[nonsense]\n[contexts.a]\nurl = 7\n[contexts."\\u001b[31m"]\n')
    assert contexts.names(odd, {}) == ["a"]
