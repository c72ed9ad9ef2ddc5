"""The page about the contract says what the code does."""

from pathlib import Path

import pytest

from docs.generators.contract_tables import filled, tables
from qtctl.wire.schema.keys import CONTRACT, TARGET, Keys, KeySpec

PAGE = Path(__file__).parent.parent.parent / "docs" / "redis-contract.md"


def test_the_page_has_the_tables_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page), "run 'make docs'"


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="keys"):
        filled("nothing here")


def test_every_key_of_the_contract_is_on_the_page() -> None:
    keys = tables()["keys"]
    assert all(f"`{spec.template}`" in keys for spec in CONTRACT)


@pytest.mark.parametrize(
    ("key", "symbol"),
    [
        ("quantum:allocation:target:BTCUSDT", "BTCUSDT"),
        ("quantum:allocation:target:币安人生USDT", "币安人生USDT"),
        ("quantum:allocation:target:proposed:BTCUSDT", None),
        ("quantum:allocation:target:", None),
        ("quantum:allocation:target:A B", None),
        ("quantum:allocation:target:A*", None),
        ("xquantum:allocation:target:A", None),
    ],
)
def test_a_target_key_must_match_as_a_whole(key: str, symbol: str | None) -> None:
    assert Keys().name(TARGET, key) == symbol


def test_a_prefix_with_glob_characters_matches_only_itself() -> None:
    keys = Keys("q[a]*:")
    assert keys.pattern(TARGET) == "q\\[a\\]\\*:allocation:target:*"
    assert keys.at(TARGET, "X") == "q[a]*:allocation:target:X"


def test_templates_end_with_their_placeholder() -> None:
    for spec in CONTRACT:
        assert isinstance(spec, KeySpec)
        assert spec.template.count("{") in (0, 1, 2)
        assert "{" not in spec.template or spec.template.endswith("}")
