"""What is shown of a URL: never its password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.settings import display_url
from qtctl.settings.urls import hash_tag, mask_url

CASES = [
    ("redis://prod-1:6379/0", "redis://prod-1:6379/0", "redis://prod-1/0"),
    ("redis://:pw@prod-1:6379/0", "redis://:***@prod-1:6379/0", "redis://prod-1/0"),
    ("redis://user:pw@host", "redis://user:***@host", "redis://user@host"),
    ("redis://user:pw@host:6380/1", "redis://user:***@host:6380/1", "redis://user@host:6380/1"),
    ("redis://token@host/0", "redis://***@host/0", "redis://host/0"),
    ("rediss://u:p@[::1]:6379/0", "rediss://u:***@[::1]:6379/0", "rediss://u@[::1]/0"),
    ("unix://u:p@/run/r.sock?db=1", "unix://u:***@/run/r.sock?db=1", "unix://u@/run/r.sock?db=1"),
    ("unix:///run/r.sock", "unix:///run/r.sock", "unix:///run/r.sock"),
    ("redis://h/0?password=pw&db=1", "redis://h/0?password=***&db=1",
     "redis://h/0?password=***&db=1"),
    ("redis://h/0?passwor%64=pw", "redis://h/0?passwor%64=***", "redis://h/0?passwor%64=***"),
    ("redis+sentinel://u:p@a:26379,b:26379/m/0", "redis+sentinel://u:***@a:26379,b:26379/m/0",
     "redis+sentinel://u@a:26379,b:26379/m/0"),
    ("redis+cluster://u:p@a:6379,b:6379", "redis+cluster://u:***@a:6379,b:6379",
     "redis+cluster://u@a,b"),
    ("embedded:", "embedded:", "embedded:"),
    ("redis://u:a/b#c@d@host/0", "redis://u:***@host/0", "redis://u@host/0"),
    ("redis://u:a?b@host/0", "redis://***", "redis://***"),
    ("redis://u:pw@host/0?password=a@b", "redis://***", "redis://***"),
    ("redis://a@b:pw@host/0", "redis://:***@host/0", "redis://host/0"),
    ("redis://u:secret", "redis://u:***", "redis://u:***"),
    ("redis://u:sec/ret", "redis://u:***/***", "redis://u:***/***"),
    ("redis:u:pw@host", "redis:***@host", "redis@host"),
    ("", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("url", "masked", "displayed"), CASES)
def test_a_password_is_masked_and_the_rest_stays(url: str, masked: str, displayed: str) -> None:
    assert mask_url(url) == masked
    assert display_url(url) == displayed


ANY_PASSWORD = st.text(st.characters(exclude_characters="&"), max_size=20)


@given(
    scheme=st.sampled_from(["redis", "rediss", "redis+sentinel", "redis+cluster", "unix", "http"]),
    before=ANY_PASSWORD,
    after=ANY_PASSWORD,
)
def test_no_password_however_badly_written_gets_out(scheme: str, before: str, after: str) -> None:
    url = f"{scheme}://user:{before}SECRET{after}@host:6379/0"
    assert "SECRET" not in mask_url(url)
    assert "SECRET" not in display_url(url)


@given(password=ANY_PASSWORD)
def test_no_password_in_the_options_gets_out(password: str) -> None:
    for url in (f"redis://h/0?db=1&password={password}SECRET", "unix:///s?password=x&SECRET"):
        assert "SECRET" not in mask_url(url)
        assert "SECRET" not in display_url(url)


@pytest.mark.parametrize(
    ("name", "tag"),
    [("{a}:b", "a"), ("x{a}y{b}", "a"), ("{}x", ""), ("{a", ""), ("a}", ""), ("{{a}}", "{a")],
)
def test_a_hash_tag_is_what_redis_cluster_takes_for_one(name: str, tag: str) -> None:
    assert hash_tag(name) == tag
