"""What `evidence export` and `evidence verify` print."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, format
from qtctl.cli.output.columns import Column, line, text
from qtctl.cli.views.evidence_window import SYNTHETIC
from qtctl.evidence import policy as policies
from qtctl.evidence.manifest import About
from qtctl.evidence.verifying import Verification

_line = partial(line, width=9)
STYLES = {"verified": "bold green", "NOT VERIFIED": "bold red"}
FINDINGS = (
    text("file", "file"),
    text("status", "status", style=lambda status: "" if status == "ok" else "red"),
    text("detail", "detail", fold=True),
)


def page(ctx: Context, found: Verification) -> Iterator[Fields | Rows]:
    """The parts of the page of a verification: what is wrong, or how much was found right."""
    yield Fields(list(_head(ctx, found)))
    yield Rows([each for each in found.findings if each.status != "ok"], FINDINGS)


def _head(ctx: Context, found: Verification) -> Iterator[Column]:
    wrong = [each for each in found.findings if each.status != "ok"]
    verdict = "NOT VERIFIED" if wrong else "verified"
    checks = format.count(len(found.findings), "check")
    counted = f"{len(wrong):,} of {checks} failed" if wrong else f"{checks}, nothing differs"
    yield _line("evidence", f"{verdict}: {counted}", STYLES[verdict])
    if found.about is not None:
        yield from described(ctx, found.about)
    if found.made is not None:
        made = found.made
        yield _line("made", f"{format.moment(made.at_ms / 1000, ctx.utc)} by {made.by} with qtctl "
                            f"{made.version}")  # fmt: skip
    yield _line("digest", found.digest or "unknown")


def described(ctx: Context, about: About) -> Iterator[Column]:
    """What a folder of evidence is about."""
    first, last = (format.moment(at / 1000, ctx.utc) for at in (about.since_ms, about.until_ms))
    synthetic = f"; {SYNTHETIC}" if about.synthetic else ""
    yield _line("window", f"{first} to {last}{synthetic}")
    parity = {True: "holds", False: "DOES NOT HOLD", None: "unknown"}[about.parity]
    made_up = " (SYNTHETIC)" if about.synthetic else ""
    yield _line("verdict", f"{about.verdict}{made_up}; parity {parity}")
    usual = about.policy == policies.load(None).digest
    yield _line("policy", f"{about.policy}, {'the default' if usual else 'NOT the default'}")
    yield _line("proofs", about.proofs or "left out")
    yield _line("chain", about.chain or "no day was sealed yet")


def written(ctx: Context, folder: Path, about: About, digest: str) -> Fields:
    """The page of an export."""
    return Fields(
        [
            _line("evidence", str(folder)),
            *described(ctx, about),
            _line("digest", digest),
        ]
    )


def as_record(folder: Path, found: Any) -> dict[str, Any]:
    """The JSON of an export."""
    return {
        "folder": str(folder), "digest": found.digest, "files": found.files,
        "about": found.about, "left_out": found.left_out,
    }  # fmt: skip
