"""A line that is typed at the foot of the screen: a filter, or the name that confirms a halt."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Prompt:
    """changed: after each key, with what stands there; done: with that at Enter; cancelled: at
    Esc."""

    question: str
    done: Callable[[str], None]
    cancelled: Callable[[], None] = lambda: None
    changed: Callable[[str], None] = lambda typed: None
    typed: str = ""

    def pressed(self, key: str) -> bool:
        """What a key does; False once the line is finished."""
        if key == "escape":
            self.cancelled()
            return False
        if key in ("\r", "\n"):
            self.done(self.typed)
            return False
        if key in ("\x7f", "\x08"):
            self.typed = self.typed[:-1]
        elif key == "\x15":
            self.typed = ""
        elif len(key) == 1 and key.isprintable():
            self.typed += key
        self.changed(self.typed)
        return True
