"""Settings written out: as TOML, as the commented template, without passwords, and as a digest.

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
# default. To change one, remove the # right before its name and edit the value.
#
# It is read from --config, else $QTCTL_CONFIG, else /etc/quantum/qtctl.toml. The environment
# overrides it: QTCTL_<SECTION>_<KEY>, then the old names listed with a setting. --set
# SECTION.KEY=VALUE overrides both. `qtctl config show` shows where each value comes from, and
# `qtctl config check` whether all are valid. Only its service may be able to read a file with a
# password.
"""
_CONTEXTS = """
# Contexts: other Redis servers by name, for commands (--context prod, or $QTCTL_CONTEXT); services
# never use one. A context takes every setting of [redis] but the time-outs, and stands instead of
# that section and of all variables about Redis. In a protected one, whatever changes something asks
# for its name to be typed first. To have one, remove "# " before each of its lines.
#
# [contexts.prod]
# url = "rediss://prod-1.example.net/0"
# username = "operator"
# password_file = "/etc/quantum/prod.redis-password"
# protected = true
"""
_SECTION_NOTES = {
    "redis": "Where Redis is.",
    "allocation": "The allocation loop: qtctl serve allocation.",
    "governor": "The governor: qtctl serve governor. A limit of 0 turns its gate off.",
    "safety": "Opt-ins and opt-outs for what carries risk.",
    "history": "What both loops decided and on what, kept for reports and replays.",
    "logging": "What the services log.",
}


def to_toml(settings: Settings | Mapping[str, Mapping[str, Any]]) -> str:
    """TOML of all settings, or of a part of them as {section: {key: value}}; `load` reads it back
    unchanged. It contains a password in the URL: mask it with `public` before showing it."""
    import tomli_w

    content = msgspec.to_builtins(settings)
    ordered = sorted(content, key=list(SECTIONS).index)
    return tomli_w.dumps({section: content[section] for section in ordered})


def template() -> str:
    """The commented template: every setting with description, range, default and names in the
    environment. etc/qtctl.toml has the same text."""
    parts = [_HEAD]
    for section in SECTIONS:
        parts.append(f"\n# {_SECTION_NOTES[section]}\n[{section}]\n")
        parts += [_template_of(field) for field in fields() if field.section == section]
        if section == "redis":
            parts.append(_CONTEXTS)
    return "".join(parts)


def public(section: Struct) -> dict[str, Any]:
    """A section without passwords, in types that JSON and TOML have."""
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(section))
    if isinstance(section, Redis):
        content["url"] = mask_url(section.url)
    return content


def digest(section: Struct) -> str:
    """16 hex digits that are equal for equal settings, passwords excluded."""
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
