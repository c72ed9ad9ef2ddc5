"""URLs of Sentinel and Cluster: what they name, and what is wrong with them."""

import pytest

from qtctl.settings import display_url, nodes_of
from qtctl.settings.urls import has_password, mask_url, url_problem, without_password

S, C = "redis+sentinel://", "redis+cluster://"


def test_a_sentinel_url_names_sentinels_a_service_and_a_database() -> None:
    nodes = nodes_of(f"{S}u:p%40w@a:1,[::1]:2,c/my%20db/3?sentinel_password=s%26t")
    assert nodes is not None
    assert nodes.nodes == (("a", 1), ("::1", 2), ("c", 26379))
    assert (nodes.service, nodes.db) == ("my db", 3)
    assert nodes.url("::1", 6379) == "redis://u:p%40w@[::1]:6379/3"
    assert nodes.asked("c", 26379) == "redis://:s%26t@c:26379"


def test_a_cluster_url_names_nodes() -> None:
    nodes = nodes_of(f"{C}u:p@a,b:7000")
    assert nodes is not None
    assert nodes.nodes == (("a", 6379), ("b", 7000))
    assert nodes.asked("b", 7000) == "redis://u:p@b:7000"
    assert nodes_of("redis://a:1/0") is None


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (f"{S}/m", "its hosts are not"), (f"{S}a:1,/m", "its hosts are not"),
        (f"{S}a:x/m", "its hosts are not"), (f"{S}a:70000/m", "its hosts are not"),
        (f"{S}a:1", "name of the Sentinel service is missing"),
        (f"{S}a:1/m/x", "database at its end"), (f"{S}a:1/m?db=1", "unknown option"),
        (f"{C}a:1/2", "a cluster has no databases"), (f"{C}", "its hosts are not"),
        (f"{C}a?sentinel_password=x", "unknown option"),
        (f"{C}u:p/w@a:1", "in its login"),
    ],
)  # fmt: skip
def test_errors_about_a_url_never_show_its_password(url: str, part: str) -> None:
    assert part in (url_problem(url) or "")


def test_the_password_of_the_sentinels_is_a_password() -> None:
    url = f"{S}a:1/m?sentinel_username=u&sentinel_password=SECRET"
    assert has_password(url)
    assert without_password(url) == f"{S}a:1/m?sentinel_username=u"
    assert "SECRET" not in mask_url(url) + display_url(url)
