"""Charts as plain SVG: no script, nothing fetched, readable on a screen and in print.

Colours come from the page: `currentColor` for axes and text, and the classes of STYLE for what is
drawn, each of which a page may set anew (`--c1` …). Each chart has a title, and a sentence for
those who can't see it. What is unknown is hatched, and never drawn as zero.
"""

from qtctl.svg.bars import Bar, Part, columns, rows
from qtctl.svg.frame import Axis, Mark, Span, amount_axis, time_axis, widened
from qtctl.svg.lines import Dot, Line, chart
from qtctl.svg.style import STYLE

__all__ = [
    "STYLE",
    "Axis",
    "Bar",
    "Dot",
    "Line",
    "Mark",
    "Part",
    "Span",
    "amount_axis",
    "chart",
    "columns",
    "rows",
    "time_axis",
    "widened",
]
