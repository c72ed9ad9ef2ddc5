"""Options that the commands of evidence share: which window, of which history, and the page."""

from typing import Annotated

from qtctl.cli.framework.options import opt

Since = Annotated[str, opt("--since TIME", "Ages count back from the newest record.")]
Until = Annotated[str | None, opt("--until TIME", "Before; default: all.")]
Symbols = Annotated[list[str] | None, opt("--symbols A,B", "Only these; repeatable.")]
PolicyFile = Annotated[str | None, opt("--policy FILE", "TOML with other limits of the gates.")]
Most = Annotated[str, opt("--limit N", "Symbols on the page; JSON has all.")]
Folder = Annotated[str | None, opt("--dir DIR", "Another history. Default: [history] dir.")]
Page = Annotated[str | None, opt("--html FILE", "Also as a page for people; - is stdout.")]
