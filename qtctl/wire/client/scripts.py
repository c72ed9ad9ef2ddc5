"""The Lua scripts: their text, with what they include, and the digest that EVALSHA takes."""

import hashlib
import re
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r"^-- include: (\w+)\n", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a script in `wire/lua`, with what it includes (`-- include: name`)."""
    text_ = resources.files("qtctl.wire.lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: source(match[1]), text_)


@cache
def digest(name: str) -> str:
    """What EVALSHA knows a script by."""
    return hashlib.sha1(source(name).encode()).hexdigest()
