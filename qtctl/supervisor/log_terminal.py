"""Log lines for a person at a terminal, in colours: everything, or decisions in a few words."""

import io
import logging
import os
from typing import TYPE_CHECKING, TextIO

from qtctl.supervisor import log_lines, log_words
from qtctl.text import escape

if TYPE_CHECKING:
    from rich.text import Text

    from qtctl.logs import Fields

_LEVEL_STYLES = {"DEBUG": "dim", "INFO": "green", "WARN": "yellow", "ERROR": "bold red"}
_VERDICT_STYLES = {"permitted": "green", "blocked": "red", "rejected": "red"}
USUAL_WIDTH = 80


class RichFormatter(logging.Formatter):
    """Every field, in colours. All is `Text`, so nothing is interpreted as markup."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__()
        self._stream = stream
        # Rich only formats, it never writes; from the stream it learns which colours there are.
        file = stream if stream.isatty() else io.StringIO()
        self._console = Console(
            file=file, markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def format(self, record: logging.LogRecord) -> str:
        from rich.text import Text

        with self._console.capture() as captured:
            for message, fields in log_lines.lines_of(record):
                self._console.print(self._line(record, message, fields))
            for text in log_lines.traceback_of(self, record):
                self._console.print(Text(text, style="dim"))
        return captured.get().removesuffix("\n")

    def _line(self, record: logging.LogRecord, message: str, fields: "Fields") -> "Text":
        from rich.text import Text

        level = log_lines.level_of(record)
        line = Text()
        line.append(f"{self._at(record)} ", style="dim")
        line.append(f"{level:<5} ", style=_LEVEL_STYLES.get(level, "bold red"))
        line.append(f"{log_lines.source_of(record)} ", style="cyan")
        line.append(escape(message))
        for key, value in fields.items():
            line.append(f" {key}=", style="dim")
            line.append(log_lines.quote(value))
        return line

    def _at(self, record: logging.LogRecord) -> str:
        return log_lines.stamp(record.created)[11:]


class ShortFormatter(RichFormatter):
    """Decisions as one line of at most the terminal's width; everything else with its fields."""

    def _line(self, record: logging.LogRecord, message: str, fields: "Fields") -> "Text":
        if log_lines.source_of(record) != log_words.LOGGER:
            return super()._line(record, message, fields)
        from rich.text import Text

        at = f"{self._at(record)} "
        head, plan, why = log_words.line(message, log_lines.texts(fields), self._width() - len(at))
        line = Text()
        line.append(at, style="dim")
        line.append(head, style=_VERDICT_STYLES.get(log_words.verdict(message), ""))
        line.append(f" {plan} {why}")
        return line

    def _at(self, record: logging.LogRecord) -> str:
        return f"{log_lines.stamp(record.created)[11:19]}Z"

    def _width(self) -> int:
        """Asked for each line: a terminal may be resized."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or USUAL_WIDTH
        except (OSError, ValueError, AttributeError):
            return USUAL_WIDTH
