"""Runs the checks, one after the other; one that fails stops no other."""

from collections.abc import Sequence

import msgspec

from qtctl.doctor.checklist import CHECKS, Check
from qtctl.doctor.command_lines import is_usual
from qtctl.doctor.findings import Finding, Level, unknown, wrong
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
    Never raises: what goes wrong in a check is reported as its finding."""
    found: list[Finding] = []
    for check in checks:
        if check.redis and away:
            continue
        try:
            found += [_named(check.name, finding) for finding in check.inspect(inspection)]
        except RedisUnreachable as gone:
            away = str(gone)
            inspection.lose()
        except QtctlError as problem:
            found.append(_named(check.name, _not_carried_out(problem)))
        except Exception as bug:  # noqa: BLE001 - the others matter more than this one
            what = unknown(f"could not be carried out: {type(bug).__name__}: {bug}")
            found.append(_named(check.name, what))
    if away:
        skipped = sum(check.redis for check in checks)
        found.append(_named("redis.reachable", _away(inspection, away, skipped)))
    order = list(Level)
    return Report(tuple(sorted(found, key=lambda it: order.index(it.level))), away)


def _named(check: str, finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, check=check)


def _not_carried_out(problem: QtctlError) -> Finding:
    if isinstance(problem, NoPermissionError):
        return unknown(f"no permission: {problem}", "ask again as a user who may look at it")
    return unknown(f"could not be carried out: {problem}")


def _away(inspection: Inspection, away: str, skipped: int) -> Finding:
    if inspection.problem:
        return unknown(f"not asked: {skipped} checks need Redis, and valid settings to find it")
    why = "no plan is judged and nothing is proposed; "
    why += f"{skipped} checks need Redis and were left out"
    return wrong(away, why, _back(inspection, away))


def _back(inspection: Inspection, away: str) -> str:
    """What brings it back, or shows what is in the way."""
    if inspection.settings.redis.url == "embedded:":
        return inspection.words.serve("all", "--embedded")
    if "refuses the login" in away:
        return inspection.show("redis")
    if inspection.server_unit and is_usual(inspection.settings.redis.url):
        return f"sudo systemctl restart {inspection.server_unit}"
    return inspection.redis_cli("ping")
