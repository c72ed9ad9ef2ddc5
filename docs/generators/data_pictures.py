"""The ways of data and the gates in their order, as SVG: `make docs` writes them, a test checks
that they are up to date. Key names come from the contract, gates from their entries.
"""

from html import escape

from qtctl.domain.gates import GATES
from qtctl.wire.schema.keys import (
    DECISION,
    DECISIONS,
    EFFICIENCY,
    EVENTS,
    PASSES,
    PERMIT,
    PLANS,
    PROPOSED,
    PROPOSED_STREAM,
    TARGET,
    KeySpec,
)

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c2430}"
    ".key{font:11.5px ui-monospace,monospace}.note{font-size:11.5px;fill:#5a6675}"
    ".who{fill:#eef2f7;stroke:#8a97a8}.loop{fill:#dcebfa;stroke:#1f6fb2}"
    ".data{fill:#fff;stroke:#c3ccd8}.way{fill:none;stroke:#5a6675;stroke-width:1.4}"
    ".close{fill:#e3f3e7;stroke:#1a7f45}.open{fill:#fdf1e3;stroke:#b3641f}"
    ".paper{fill:#fff}"
)
_ROW = 46
_COLUMNS = (10, 240, 610, 880, 1220)
"""Where each column begins: who writes, what it writes, the loops, what they write, who reads."""
_WIDTHS = (170, 270, 170, 290, 220)


def flow() -> str:
    """Targets, scores and plans → the loops → proposals, permits and what is recorded → readers."""
    left = [
        ("P2.9: targets", TARGET), ("P3.1: scores", EFFICIENCY), ("publishers: plans", PLANS),
    ]  # fmt: skip
    right: list[tuple[KeySpec, str]] = [
        (PROPOSED, "P2.9, people: in shadow only"),
        (PROPOSED_STREAM, "qtctl tail, target list"),
        (PASSES, "recorder"),
        (PERMIT, "Apply Layer: takes it once"),
        (DECISION, "qtctl plan, why"),
        (EVENTS, "qtctl top, timeline; recorder"),
        (DECISIONS, "recorder"),
    ]
    parts = []
    for row, (who, spec) in enumerate(left):
        y = 60 + 115 * row
        parts += [_box(0, y, who, "who"), _box(1, y, spec.template, "data key")]
        parts.append(_way(0, y, 1, y))
    loops = {"allocation loop": (95, "every 10 s, in shadow"), "governor": (330, "one atomic step")}
    for name, (y, note) in loops.items():
        parts.append(_box(2, y, name, "loop", note))
    for row, (spec, reader) in enumerate(right):
        y = 20 + 62 * row
        loop = "allocation loop" if row < 3 else "governor"
        parts += [_box(3, y, spec.template, "data key"), _box(4, y, reader, "who")]
        parts += [_way(2, loops[loop][0], 3, y), _way(3, y, 4, y)]
    targets, scores, plans = (60 + 115 * row for row in range(3))
    allocation, governor = (y for y, _ in loops.values())
    parts += [_way(1, targets, 2, allocation), _way(1, scores, 2, allocation)]
    parts += [_way(1, scores, 2, governor), _way(1, plans, 2, governor)]
    title = "The ways of data: what is written by whom, and who reads it"
    return _svg(title, 1450, 470, parts)


def gates() -> str:
    """Every gate in its order: what it compares, and the reason of a plan that it blocks."""
    parts = [
        "<text x='20' y='28'>A plan goes from gate to gate; the first that fails gives the reason."
        " Closes meet the green ones only.</text>"
    ]
    for row, gate in enumerate(GATES):
        y = 44 + 40 * row
        kind = "open" if gate.opens_only else "close"
        limits = ", ".join(gate.limits)
        parts += [
            f"<rect class='{kind}' x='20' y='{y}' width='170' height='30' rx='5'/>",
            f"<text x='32' y='{y + 20}'>{row + 1}. {escape(gate.name)}</text>",
            f"<text class='key' x='210' y='{y + 19}'>{escape(gate.reason.value)}</text>",
            f"<text class='note' x='450' y='{y + 19}'>{escape(limits)}</text>",
        ]
        if row:
            parts.append(f"<path class='way' d='M105 {y - 10}v10'/>")
    end = 44 + 40 * len(GATES)
    parts += [
        f"<path class='way' d='M105 {end - 10}v10'/>",
        f"<rect class='loop' x='20' y='{end}' width='170' height='30' rx='5'/>",
        f"<text x='32' y='{end + 20}'>permit, lives 60 s</text>",
    ]
    return _svg("The gates in their order", 800, end + 46, parts)


PICTURES = {"data-flow.svg": flow, "gates.svg": gates}


def _box(column: int, y: int, label: str, kind: str, note: str = "") -> str:
    x, width = _COLUMNS[column], _WIDTHS[column]
    key = " class='key'" if "key" in kind else ""
    box = (
        f"<rect class='{kind.split()[0]}' x='{x}' y='{y}' width='{width}' height='{_ROW}' rx='6'/>"
    )
    middle = y + (20 if note else 28)
    found = f"{box}<text{key} x='{x + 12}' y='{middle}'>{escape(label)}</text>"
    if note:
        found += f"<text class='note' x='{x + 12}' y='{y + 37}'>{escape(note)}</text>"
    return found


def _way(column: int, y: int, to: int, to_y: int) -> str:
    x, end = _COLUMNS[column] + _WIDTHS[column], _COLUMNS[to]
    y, to_y = y + _ROW // 2, to_y + _ROW // 2
    bend = (end - x) // 2
    way = f"M{x} {y}C{x + bend} {y} {end - bend} {to_y} {end - 7} {to_y}"
    return f"<path class='way' marker-end='url(#end)' d='{way}'/>"


def _svg(title: str, width: int, height: int, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        "<defs><marker id='end' viewBox='0 0 8 8' refX='1' refY='4' markerWidth='7' "
        "markerHeight='7' orient='auto'><path d='M0 0L8 4L0 8z' fill='#5a6675'/></marker></defs>\n"
        f"<rect class='paper' width='{width}' height='{height}'/>\n{body}\n</svg>\n"
    )
