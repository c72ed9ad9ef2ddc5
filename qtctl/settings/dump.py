"""Settings written down: as TOML, as the commented template, for other eyes, and as a digest.

tomli_w and hashlib are imported where they are used: most commands need neither.
"""

import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from qtctl.settings.catalog import FieldInfo, fields
from qtctl.settings.model import SECTIONS, Redis, Settings
from qtctl.settings.urls import mask_url

_WIDTH = 96
_HEAD = """\
# The settings of qtctl. `qtctl config init` prints this file: every setting, commented out, at its
# default. Take the # away from a line that begins with it directly, and change the value.
#
# It is read from --config, else $QTCTL_CONFIG, else /etc/quantum/qtctl.toml. The environment beats
# it: QTCTL_<SECTION>_<KEY>, then the old names that are given with a setting. --set
# SECTION.KEY=VALUE beats both. `qtctl config show` tells where each value comes from, and `qtctl
# config check` whether all is well. A file with a password is for its service to read only.
"""
_SECTION_NOTES = {
    "redis": "Where Redis is.",
    "allocation": "The allocation loop: qtctl serve allocation.",
    "governor": "The governor: qtctl serve governor. A limit of 0 turns its gate off.",
    "safety": "What may be done that is safer left undone.",
    "logging": "What the services log.",
}


def to_toml(settings: Settings | Mapping[str, Mapping[str, Any]]) -> str:
    """TOML of all settings, or of a part of them as {section: {key: value}}, that `load` reads
    back to the same. A password in the URL is in it: mask it with `public` to show it."""
    import tomli_w

    content = _plain(settings)
    ordered = sorted(content, key=list(SECTIONS).index)
    return tomli_w.dumps({section: content[section] for section in ordered})


def template() -> str:
    """The commented template: every setting with description, range, default and names in the
    environment. The same text lies in etc/qtctl.toml."""
    parts = [_HEAD]
    for section in SECTIONS:
        parts.append(f"\n# {_SECTION_NOTES[section]}\n[{section}]\n")
        parts += [_template_of(field) for field in fields() if field.section == section]
    return "".join(parts)


def public(section: Struct) -> dict[str, Any]:
    """A section for other eyes, in types that JSON and TOML have: no password in it."""
    content: dict[str, Any] = _plain(section)
    if isinstance(section, Redis):
        content["url"] = mask_url(section.url)
    return content


def digest(section: Struct) -> str:
    """16 hex digits that are the same for the same settings, passwords left out."""
    import hashlib

    canonical = msgspec.json.encode(public(section), order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:16]


def _template_of(field: FieldInfo) -> str:
    old = f", old {', '.join(field.env)}" if field.env else ""
    allowed = f"{field.expected[0].upper()}{field.expected[1:]}."
    names = f"Environment: {field.variable}{old}."
    comment = [*_wrapped(field.description), *_wrapped(f"{allowed} {names}")]
    value = _wrapped(_assignment(field.key, field.default))
    return "\n" + "".join([f"# {line}\n" for line in comment] + [f"#{line}\n" for line in value])


def _assignment(key: str, value: Any) -> str:
    """`key = value` on one line, where tomli_w gives a list one line per item."""
    import tomli_w

    if not isinstance(value, tuple):
        return tomli_w.dumps({key: value}).strip()
    # What may be in a list (model.Item) needs no escapes.
    items = ", ".join(f'"{item}"' for item in value)
    return f"{key} = [{items}]"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _plain(value: Any) -> Any:
    """Structs as dicts, tuples as lists."""
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
