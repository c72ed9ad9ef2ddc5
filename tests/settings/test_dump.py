"""Settings written down read back to the same, and no password is among what is shown."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.settings import (
    FieldInfo,
    Governor,
    Redis,
    Settings,
    digest,
    fields,
    load,
    public,
    template,
    to_toml,
)

TEMPLATE = Path(__file__).parents[2] / "etc" / "qtctl.toml"
WORDS = st.text("abcXYZ019_.:-", min_size=1, max_size=12)
NOT_DRAWN = {
    "redis.url",
    "redis.prefix",
    "redis.tls_key_file",
    "allocation.min_mult",
    "allocation.max_mult",
}


def read_back(tmp_path: Path, toml: str) -> Settings:
    file = tmp_path / "back.toml"
    file.write_text(toml, encoding="utf-8")
    return load(config=file, environ={}).settings


def test_the_shipped_template_is_the_one_that_config_init_prints() -> None:
    assert TEMPLATE.read_text(encoding="utf-8") == template()


def test_the_unedited_template_changes_nothing(tmp_path: Path) -> None:
    assert read_back(tmp_path, template()) == Settings()


def test_the_template_uncommented_has_every_setting_at_its_default(tmp_path: Path) -> None:
    lines = [
        line[1:] if line.startswith("#") and not line.startswith(("# ", "#\n")) else line
        for line in template().splitlines(keepends=True)
    ]
    file = tmp_path / "all.toml"
    file.write_text("".join(lines), encoding="utf-8")
    loaded = load(config=file, environ={})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {f"file {file}"}


def test_the_template_documents_every_setting() -> None:
    text = " ".join(line.removeprefix("# ") for line in template().splitlines())
    for field in fields():
        assert field.description in text
        assert field.expected[1:] in text
        assert all(name in text for name in (field.variable, *field.env))


def test_no_line_of_the_template_is_too_wide_for_a_terminal() -> None:
    assert max(map(len, template().splitlines())) <= 100


@pytest.mark.parametrize("field", fields(), ids=lambda field: field.path)
def test_a_setting_is_described_in_one_line(field: FieldInfo) -> None:
    assert field.description.endswith(".")
    assert "\n" not in field.description
    assert field.default == getattr(getattr(Settings(), field.section), field.key)


def value_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Values that a setting takes, by its own limits."""
    if field.type == "boolean":
        return st.booleans()
    if field.key == "require":
        return st.lists(st.sampled_from(["kill_score", "price", "action"]), max_size=3)
    if field.type == "list":
        # A common beginning, so that no action opens and closes.
        return st.lists(WORDS.map(f"{field.key}{{}}".format), min_size=1, max_size=16)
    if field.type == "text" and field.range.endswith(", or empty"):
        return st.just("") | NAMES
    if field.type == "text" and " or " in field.range:
        return st.sampled_from(field.range.replace(" or ", ", ").split(", "))
    if field.type == "text":
        return WORDS.map(f"{field.key}{{}}".format) if "stream" in field.key else NAMES
    return number_of(field)


NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=12)


def number_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    least, _, most = (
        field.range.removeprefix("over ").replace(" or more", " to 1e12").partition(" to ")
    )
    if field.type == "integer":
        return st.integers(int(least), int(most))
    return st.floats(
        float(least), float(most), allow_nan=False, exclude_min=field.range.startswith("over")
    )


@st.composite
def contents(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """What a good TOML file may say."""
    content: dict[str, dict[str, Any]] = {}
    for field in draw(st.sets(st.sampled_from(fields()), max_size=12)):
        if field.path not in NOT_DRAWN:
            content.setdefault(field.section, {})[field.key] = draw(value_of(field))
    mults = draw(st.none() | st.tuples(st.floats(0, 1), st.floats(1, 1e300)))
    if mults is not None:
        allocation = content.setdefault("allocation", {})
        allocation["min_mult"], allocation["max_mult"] = mults
    return content


@given(content=contents())
def test_what_is_written_reads_back_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, dict[str, Any]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("toml")
    settings = read_back(tmp_path, to_toml(content))
    for section, keys in content.items():
        for key, value in keys.items():
            got = getattr(getattr(settings, section), key)
            assert (list(got) if isinstance(got, tuple) else got) == value
    assert read_back(tmp_path, to_toml(settings)) == settings


def test_a_password_survives_to_toml_and_not_public(tmp_path: Path) -> None:
    settings = Settings(redis=Redis(url="redis://u:secret@h:1/0"))
    assert read_back(tmp_path, to_toml(settings)) == settings
    assert public(settings.redis)["url"] == "redis://u:***@h:1/0"


def test_an_unknown_section_is_not_written() -> None:
    with pytest.raises(ValueError, match="colours"):
        to_toml({"colours": {}})


def test_public_has_only_what_json_and_toml_have() -> None:
    shown = public(Governor())
    assert shown["kill_keys"] == ["kill", "global:kill_switch"]
    assert shown["halt_keys"] == ["governor:halt"]
    assert shown["require"] == []
    assert list(shown) == [field.key for field in fields() if field.section == "governor"]


def test_a_digest_is_stable_and_differs_with_the_settings() -> None:
    assert digest(Governor()) == "af7390b61b2bfac7"
    assert digest(Governor(batch=501)) != digest(Governor())
    assert digest(Redis(url="redis://u:a@h")) == digest(Redis(url="redis://u:b@h"))


def test_zero_has_one_digest_whatever_its_sign() -> None:
    minus = load(config=None, environ={"P31_SCALE": "-0"}).settings.allocation
    zero = load(config=None, environ={"P31_SCALE": "0"}).settings.allocation
    assert digest(minus) == digest(zero)


def test_importing_settings_loads_nothing_heavy() -> None:
    code = (
        "import sys, qtctl.settings; "
        "print(sorted({'redis', 'tomli_w', 'tomllib', 'typer', 'rich'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
