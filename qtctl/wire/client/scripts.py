"""The Lua scripts: their text, with what they include, and the digest that EVALSHA takes."""

import hashlib
import re
from functools import cache
from importlib import resources

FLAGS = dict.fromkeys(("acknowledge", "halt", "resume", "withdraw_open"), "#!lua flags=allow-oom\n")
"""Scripts that must run while memory is full too. Before Redis 7 a script can't have flags, and
does not compile with them: PLAIN behind its name is the script without."""
PLAIN = ".plain"
_INCLUDE = re.compile(r"^-- include: (\w+)\n", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a script in `wire/lua`: flags, and what it includes (`-- include: name`)."""
    flags = FLAGS.get(name, "")
    name = name.removesuffix(PLAIN)
    text_ = resources.files("qtctl.wire.lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return flags + _INCLUDE.sub(lambda match: source(match[1]), text_)


@cache
def digest(name: str) -> str:
    """What EVALSHA knows a script by."""
    return hashlib.sha1(source(name).encode()).hexdigest()
