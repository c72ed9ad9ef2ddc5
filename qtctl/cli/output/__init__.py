"""All that prints data: columns, formats, tables, JSON; nothing else writes to stdout."""

from qtctl.cli.output.listed import Filter, Listed
from qtctl.cli.output.render import Fields, Rows, Stream, emit, emit_line, emit_one, to_json
from qtctl.cli.output.styles import lifetime_style, reason_style, verdict_style

__all__ = ["Fields", "Filter", "Listed", "Rows", "Stream", "emit", "emit_line", "emit_one"]
__all__ += ["lifetime_style", "reason_style", "to_json", "verdict_style"]
