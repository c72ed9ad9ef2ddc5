"""Options that the commands of evidence share: which window, of which history, and the page."""

from typing import Annotated

import typer

Since = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Ages count back from the newest record.",
        show_default=True,
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before; default: all.")]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbols", metavar="A,B", help="Only these; repeatable.")
]
PolicyFile = Annotated[
    str | None,
    typer.Option("--policy", metavar="FILE", help="TOML with other limits of the gates."),
]
Most = Annotated[
    str, typer.Option("--limit", metavar="N", help="Symbols on the page; JSON has all.")
]
Folder = Annotated[
    str | None,
    typer.Option("--dir", metavar="DIR", help="Another history. Default: [history] dir."),
]
Page = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Also as a page for people; - is stdout."),
]
