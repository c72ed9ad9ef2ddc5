"""The keys, on one page of 80×24."""

from rich.text import Text

from qtctl.cli.live import drawing
from qtctl.cli.live.page import Moment, TextPage

KEYS = (
    ("1 … 6", "health, symbols, permits, blocked plans, queue, events; Tab: the next"),
    ("↑ ↓ j k", "select; PgUp PgDn ^B ^F by pages, Home End g G to the ends"),
    ("Enter", "open: symbol → why → plan gate by gate; permit, event → plan"),
    ("Esc", "back; on a list: no filter, as it comes"),
    ("s S", "sort by the next, the previous column (also > <); r the other way"),
    ("/", "filter by a part of a name; Enter keeps it, Esc clears it"),
    ("x", "problems only, or everything"),
    ("h", "halt opens of the selected symbol, once you have typed its name"),
    ("c", "the command line that shows the same"),
    ("p", "pause: nothing is read until you press p again"),
    ("^L  ^Z", "draw everything anew; to the shell, until fg"),
    ("?  q", "this help; quit, as Ctrl-C does"),
)
NOTES = (
    "The selected row is marked > and stays selected when the order moves; at the top, the newest "
    "is selected.",
    "Trend lines: a cell is a minute, the last one is not over; the lowest bar is 0, a blank is "
    "not known.",
    "What is dimmed is old: its age is shown. Nothing is changed but by h.",
)


class HelpPage(TextPage):
    """What each key does."""

    title = "help"

    def lines(self, moment: Moment, width: int) -> list[Text]:
        """The keys, then what one sees."""
        lines = []
        for key, what in KEYS:
            for place, part in enumerate(drawing.wrapped(what, width - 10)):
                lines.append(Text.assemble((f"{'' if place else key:<10}", "bold"), part))
        for note in NOTES:
            lines += [*([Text()] if note is NOTES[0] else []), *drawing.wrapped(note, width)]
        return lines
