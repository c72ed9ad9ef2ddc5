"""A page of sentences: a command line to copy, or what came of a halt."""

from collections.abc import Callable, Sequence

from rich.text import Text

from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.page import Moment, TextPage


class MessagePage(TextPage):
    """Paragraphs, each with its style; they are asked for at each drawing."""

    def __init__(
        self, ctx: Context, title: str, paragraphs: Callable[[], Sequence[tuple[str, str]]]
    ) -> None:
        super().__init__(ctx)
        self.title = title
        self._paragraphs = paragraphs

    def lines(self, moment: Moment, width: int) -> list[Text]:
        """All of them, broken between words."""
        return [
            line
            for text, style in self._paragraphs()
            for line in drawing.wrapped(text, width, style)
        ]
