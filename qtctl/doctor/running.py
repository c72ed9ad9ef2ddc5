"""Runs the checks, one after the other; one that fails stops no other."""

from collections.abc import Sequence

import msgspec

from qtctl.doctor.checklist import CHECKS, Check
from qtctl.doctor.command_lines import is_local
from qtctl.doctor.findings import Finding, Level, unknown, worst_first, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.errors import NoPermissionError, QtctlError, RedisUnreachable


class Report(msgspec.Struct, frozen=True):
    """All findings, the worst first; away: why Redis could not be asked, "" where it could."""

    findings: tuple[Finding, ...]
    away: str = ""

    def count(self, level: Level) -> int:
        """How many of a level."""
        return sum(it.level is level for it in self.findings)


def examine(inspection: Inspection, away: str = "", checks: Sequence[Check] = CHECKS) -> Report:
    """Every check that can be carried out; away: why there is no Redis to ask, where there is none.

    Never raises: what goes wrong in a check is reported as its finding.
    """
    found: list[Finding] = []
    for check in checks:
        if check.redis and away:
            continue
        try:
            found += [_named(check, finding) for finding in check.inspect(inspection)]
        except RedisUnreachable as gone:
            away = str(gone)
            inspection.lose()
        except QtctlError as problem:
            found.append(_named(check, _not_carried_out(problem)))
        except Exception as bug:  # noqa: BLE001 - the others matter more than this one
            what = unknown(f"could not be carried out: {type(bug).__name__}: {bug}")
            found.append(_named(check, what))
    if away:
        found.append(_away(inspection, away, [check for check in checks if check.redis]))
    return Report(tuple(worst_first(found)), away)


def _named(check: Check, finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, check=check.name)


def _not_carried_out(problem: QtctlError) -> Finding:
    if isinstance(problem, NoPermissionError):
        return unknown(f"no permission: {problem}", "ask again as a user who may look at it")
    return unknown(f"could not be carried out: {problem}")


def _away(inspection: Inspection, away: str, skipped: Sequence[Check]) -> Finding:
    if inspection.problem:
        # Nobody knows where it would be.
        what = f"not asked: {len(skipped)} checks need Redis, and no setting says where it is"
        return msgspec.structs.replace(unknown(what), check="redis.reachable")
    finding = wrong(
        away,
        "no plan is judged and nothing is proposed; "
        f"{len(skipped)} checks need Redis and were left out",
        _back(inspection, away),
    )
    return msgspec.structs.replace(finding, check="redis.reachable")


def _back(inspection: Inspection, away: str) -> str:
    """What brings it back, or shows what is in the way."""
    if inspection.settings.redis.url == "embedded:":
        return inspection.words.qtctl("serve", "all", "--embedded")
    if "refuses the login" in away:
        return inspection.words.qtctl("config", "show", "redis")
    if inspection.server_unit and is_local(inspection.settings.redis.url):
        return f"sudo systemctl restart {inspection.server_unit}"
    return inspection.words.redis("ping")
