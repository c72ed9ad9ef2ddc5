"""What `evidence export` gathers: report, readiness and replay of one window, and all that a person
needs to judge them, as the files of one folder.

The JSON of report, readiness and replay is what these commands print, to the byte.
"""

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from qtctl import __version__, clock, source
from qtctl.cli.framework.context import Context
from qtctl.cli.output import to_json
from qtctl.cli.output.masking import masking
from qtctl.cli.views import evidence_window, proofs
from qtctl.cli.views.history import opened
from qtctl.cli.views.html import evidence_page, readiness_page, replay_page, report_page
from qtctl.cli.views.html.evidence import Contents
from qtctl.cli.views.replay import progress
from qtctl.cli.views.replay_record import Found, as_record
from qtctl.errors import NotFoundError, QtctlError
from qtctl.evidence import filing, policy, readiness, replay, report, settings_record
from qtctl.evidence import window as windows
from qtctl.evidence.filing import Part
from qtctl.evidence.manifest import CHAIN, About, LeftOut, Made
from qtctl.evidence.policy import FOLLOW, RULES, Policy
from qtctl.evidence.window import Window
from qtctl.history import chain
from qtctl.history.reader import History
from qtctl.operator import user_at_host
from qtctl.proof import reports

PROOF_FILES = ("report.html", "proof.json", "junit.xml")
_PROOF_WHAT = ("the proofs, to read", "the proofs, as JSON", "the proofs, as CI systems read them")
OPEN_DAY = "hashes of days that are not sealed yet"


class Wanted(NamedTuple):
    """What is asked for. proofs: a folder with those of `qtctl proof --report`, None to run them
    now, on a private server; no_proofs: none."""

    folder: str | None
    since: str
    until: str | None
    symbols: Sequence[str]
    policy: Path | None
    proofs: Path | None
    no_proofs: bool


class Filed(NamedTuple):
    """What was written: about, and the digest of the whole."""

    about: About
    left_out: Sequence[LeftOut]
    files: int
    digest: str


def export(ctx: Context, target: Path, wanted: Wanted) -> Filed:
    """Writes the folder. Errors: UsageError, ConfigError, NotFoundError, CannotWrite; QtctlError
    where the proofs can't run."""
    filing.refuse(target)
    rules = policy.load(wanted.policy)
    history = opened(ctx, wanted.folder)
    asked = evidence_window.asked(ctx, history, wanted.since, wanted.until)
    # One end for all that is read, whatever is recorded meanwhile.
    since_ms = asked.since_ms if asked.asked_ms is None else asked.asked_ms
    window = windows.choose(history, since_ms, asked.until_ms)
    proven = _proofs(ctx, wanted)
    found = _judged(ctx, history, window, rules, wanted.symbols)
    links = chain.read(history.folder)
    about = _about(found, wanted.symbols, rules, links, proven)
    left_out = list(_left_out(found, proven))
    mask = masking(ctx)
    parts = [
        Part(name, what, mask(_text(content)).encode("utf-8", "backslashreplace"))
        for name, what, content in (
            *_documents(found, rules, links),
            *((f"proof/{name}", what, proven[name])
              for name, what in zip(PROOF_FILES, _PROOF_WHAT, strict=True) if proven),
        )
    ]  # fmt: skip
    made = Made(int(clock.now() * 1000), user_at_host(ctx.environ), __version__, source.commit())
    digest = filing.write(
        target, made, about, left_out, parts,
        lambda manifest, digest: mask(evidence_page(manifest, digest, found)),
    )  # fmt: skip
    return Filed(about, left_out, len(parts) + 2, digest)


def _judged(
    ctx: Context, history: History, window: Window, rules: Policy, symbols: Sequence[str]
) -> Contents:
    progress(ctx, "the report")
    reported = report.make(history, window, symbols)
    progress(ctx, "readiness")
    ready = readiness.assess(history, rules, symbols, window.until_ms)
    progress(ctx, "parity")
    replayed = Found(window, replay.run(history, window, {}))
    return Contents(
        window,
        reported,
        ready,
        replayed,
        settings_record.of(history, window.since_ms, window.until_ms),
        history.halts(None, window.until_ms),
        history.services(window.since_ms, window.until_ms),
        history.servers(window.since_ms, window.until_ms),
        history.days(),
        chain.read(history.folder),
    )


def _about(
    found: Contents, symbols: Sequence[str], rules: Policy, links: Sequence[chain.Link],
    proven: dict[str, str],
) -> About:  # fmt: skip
    parity = found.replay.result.parity
    return About(
        since_ms=found.window.since_ms,
        until_ms=found.window.until_ms,
        symbols=list(symbols),
        synthetic=found.window.synthetic,
        verdict=found.readiness.verdict,
        parity=parity.holds if parity.decisions + parity.proposals else None,
        policy=rules.digest,
        chain=links[-1].link if links else None,
        proofs=_summary(proven["proof.json"]) if proven else None,
    )


def _left_out(found: Contents, proven: dict[str, str]) -> Iterator[LeftOut]:
    if not proven:
        yield LeftOut("proofs", "--no-proofs was given")
    sealed = {link.day for link in found.links}
    opened = [day for day in found.days if day not in sealed]
    if opened:
        yield LeftOut(OPEN_DAY, f"{', '.join(opened)}: a day is sealed once it is over")


def _documents(
    found: Contents, rules: Policy, links: Sequence[chain.Link]
) -> Iterator[tuple[str, str, Any]]:
    """Name, what it is, and content: a text, or what JSON is made of."""
    window, replayed = found.window, found.replay
    yield "readiness.html", "the verdict, gate by gate", readiness_page(found.readiness, rules)
    yield "report.html", "what both loops did", report_page(found.report)
    yield "replay.html", "parity: everything decided again", replay_page(window, replayed.result)
    yield "readiness.json", "as qtctl readiness prints it", found.readiness
    yield "report.json", "as qtctl report prints it", found.report
    yield "replay.json", "as qtctl replay prints it", as_record(replayed)
    yield "settings.json", "settings of the services, rules, limits, and changes", found.settings
    yield "halts.json", "halts and resumes, up to the end of the window", found.halts
    yield "gaps.json", "what the history lacks in the window", window.gaps
    yield "services.json", "what was seen of the services", found.services
    yield "servers.json", "what was seen of the Redis server", found.servers
    yield "policy.toml", "the limits of the gates, for --policy", _policy(rules)
    lines = "".join(f"{msgspec.json.encode(link).decode()}\n" for link in links)
    yield CHAIN, "the hashes of the days, chained", lines
    versions = {
        "qtctl": __version__,
        "commit": source.commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    yield "versions.json", "what made this", versions


def _text(content: Any) -> str:
    return content if isinstance(content, str) else f"{to_json(content, indent=True)}\n"


def _policy(rules: Policy) -> str:
    """The whole policy as a file: read again, it has the same digest."""
    gates = [f"{name} = {rules.gates[name]!r}" for name in RULES]
    follow = [f"{name} = {getattr(rules, name)!r}" for name in FOLLOW]
    return "\n".join([f"# digest {rules.digest}", "[gates]", *gates, "", "[follow]", *follow, ""])


# Proofs -------------------------------------------------------------------------------------------


def _proofs(ctx: Context, wanted: Wanted) -> dict[str, str]:
    """The files of the proofs by name; none where they are not wanted."""
    if wanted.no_proofs:
        return {}
    if wanted.proofs is not None:
        return {name: _read(wanted.proofs / name) for name in PROOF_FILES}
    progress(ctx, "the proofs")
    try:
        return reports.contents(*proofs.conduct(ctx, ("step1", "step2")))
    except QtctlError as problem:
        problem.args = (f"{problem}; --no-proofs leaves the proofs out",)
        raise


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise NotFoundError(
            f"--proofs: {path} can't be read: {why}; 'qtctl proof all --report DIR' writes it"
        ) from problem


def _summary(raw: str) -> str:
    """`12 passed, 0 failed`. Errors: NotFoundError where it is no proof.json."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any])
        return f"{found['passed']:d} passed, {found['failed']:d} failed"
    except (msgspec.DecodeError, KeyError, ValueError, TypeError) as problem:
        raise NotFoundError(
            "--proofs: proof.json is not what 'qtctl proof all --report DIR' writes"
        ) from problem
