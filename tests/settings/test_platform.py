"""Variables that container orchestrators set for each service they know, under names like ours."""

import os

import pytest

from qtctl.cli.main import run
from qtctl.errors import ConfigError
from qtctl.settings import load


def announced(service: str, port: int, address: str = "10.96.0.7") -> dict[str, str]:
    """What an orchestrator sets for a service."""
    url = f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"
    return {
        f"{service}_SERVICE_HOST": address,
        f"{service}_SERVICE_PORT": str(port),
        f"{service}_SERVICE_PORT_HTTP_METRICS": str(port),
        f"{service}_PORT": url,
        f"{service}_PORT_{port}_TCP": url,
        f"{service}_PORT_{port}_TCP_PROTO": "tcp",
        f"{service}_PORT_{port}_TCP_PORT": str(port),
        f"{service}_PORT_{port}_TCP_ADDR": address,
    }


SERVICES = (
    "QTCTL", "QTCTL_GOVERNOR", "QTCTL_GOVERNOR_METRICS", "QTCTL_REDIS", "REDIS", "METRICS", "GOV",
    "P31_CAPITAL",
)  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7"])
@pytest.mark.parametrize("of", [None, "allocation", "all"])
def test_what_is_announced_is_no_setting(service: str, address: str, of: str | None) -> None:
    loaded = load(config=None, environ=announced(service, 8044, address), service=of)
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.warnings == []


def test_a_linked_container_is_no_setting() -> None:
    linked = {"QTCTL_NAME": "/web/qtctl", "QTCTL_ENV_LANG": "C", "QTCTL_PORT": "tcp://1.2.3.4:1"}
    assert load(config=None, environ=linked).warnings == []
    with pytest.raises(ConfigError, match="QTCTL_ENV_LANG"):
        load(config=None, environ={"QTCTL_ENV_LANG": "C"})


def test_settings_beside_them_count() -> None:
    environ = announced("REDIS", 6379) | {
        "REDIS_HOST": "prod-1",
        "GOV_SYMBOL_COOLDOWN_SECONDS": "7",
    }
    loaded = load(config=None, environ=environ)
    assert loaded.settings.redis.url.startswith("redis://prod-1")
    assert loaded.settings.governor.symbol_cooldown_sec == 7
    assert loaded.injected == ["REDIS_PORT"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_PORT", "redis://prod-1:6379"),
        ("REDIS_PORT", "63a79"),
        ("QTCTL_GOVERNOR_METRIC_PORT", "8044"),
        ("QTCTL_GOVERNOR_METRICS_PORT", "http://10.0.0.1:80"),
        ("QTCTL_PORT", "8044"),
        ("QTCTL_HOST", "prod-1"),
    ],
)
def test_a_typo_stays_an_error(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load(config=None, environ={name: value})


def test_config_show_names_what_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    environ = announced("REDIS", 6379) | {"QTCTL_CONFIG": os.devnull}
    assert run(["config", "show", "redis.url"], environ) == 0
    assert capsys.readouterr().err == "Ignored, since a platform has set them: REDIS_PORT\n"
