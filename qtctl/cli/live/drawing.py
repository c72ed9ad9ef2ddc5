"""Lines for a whole-screen view: pieces of text with a style, cut or filled up to a width."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import GAP, Fit, fit
from qtctl.cli.output.tables import cells_of, line_widths

STYLES = {
    "": "",
    "bold": "1",
    "dim": "2",
    "reverse": "7",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "bold red": "1;31",
}
_COLOURS = ("31", "32", "33")


class Span(NamedTuple):
    """A piece of a line: text without control characters, and one of STYLES."""

    text: str
    style: str = ""


Line = Sequence[Span]


def line(text: str, style: str = "") -> Line:
    """A line of one piece."""
    return (Span(text, style),)


def fitted(spans: Line, width: int) -> list[Span]:
    """Exactly `width` cells: cut with `…`, or filled up with blanks in the style of its end."""
    out: list[Span] = []
    width_left = width
    for text, style in spans:
        size = cells_of(text)
        if size > width_left:
            return [*out, Span(_cut(text, width_left) if text.strip() else " " * width_left, style)]
        out.append(Span(text, style))
        width_left -= size
    return [
        *out,
        Span(" " * width_left, out[-1].style if out and out[-1].style == "reverse" else ""),
    ]


def ansi(spans: Line, colour: bool) -> str:
    """As a terminal takes it; without colour bold and reverse stay."""
    out = []
    for text, style in spans:
        codes = STYLES.get(style, "").split(";")
        kept = ";".join(code for code in codes if colour or code not in _COLOURS)
        out.append(f"\x1b[{kept}m{text}\x1b[0m" if kept and text else text)
    return "".join(out)


def table(rows: Sequence[Any], columns: Sequence[Column], width: int, utc: bool) -> list[Line]:
    """A header and a line for each row; columns without room are left out, as in every table."""
    texts = [[column.cell(row, utc) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    natural = line_widths(columns, [titles, *texts])
    important = tuple(place for place, column in enumerate(columns) if not column.drop)
    fitted = fit(columns, natural, width) or Fit(important, tuple(natural[i] for i in important))
    places = list(zip(fitted.kept, fitted.widths, strict=True))
    head = [_padded(titles[i], size, columns[i].right, "bold") for i, size in places]
    body = [
        [_padded(text[i], size, columns[i].right, columns[i].style_of(row)) for i, size in places]
        for row, text in zip(rows, texts, strict=True)
    ]
    return [_joined(each) for each in (head, *body)]


def beside(left: Sequence[Line], width: int, right: Sequence[Line]) -> list[Line]:
    """Two blocks side by side, the left one `width` cells wide."""
    height = max(len(left), len(right))
    both = zip(
        [*left, *[()] * (height - len(left))], [*right, *[()] * (height - len(right))], strict=True
    )
    return [[*fitted(first, width), Span(" " * 2 * GAP), *second] for first, second in both]


def _padded(text: str, size: int, right: bool, style: str) -> list[Span]:
    blanks = Span(" " * (size - cells_of(text)))
    return [blanks, Span(text, style)] if right else [Span(text, style), blanks]


def _joined(parts: Sequence[Sequence[Span]]) -> Line:
    out: list[Span] = []
    for part in parts:
        out += [Span(" " * GAP), *part] if out else part
    return out


def _cut(text: str, width_left: int) -> str:
    if width_left <= 0:
        return ""
    if text.isascii():
        return f"{text[: width_left - 1]}…"
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, width_left - 1)}…"
