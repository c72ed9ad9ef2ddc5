"""Settings in the shapes of those who go by them."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def rules_from(settings: msgspec.Struct | Mapping[str, Any], shape: type[T]) -> T:
    """The fields of `shape`, each by its name, from a section of settings or a record of one.

    Errors: msgspec.ValidationError where one is missing or of another type; a default of `shape`
    never stands in for a setting.
    """
    given = msgspec.structs.asdict(settings) if isinstance(settings, msgspec.Struct) else settings
    try:
        wanted = {name: given[name] for name in shape.__struct_fields__}
    except KeyError as missing:
        raise msgspec.ValidationError(f"the settings have no {missing.args[0]}") from None
    return msgspec.convert(wanted, shape)
