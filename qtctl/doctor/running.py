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
            new = list(check.inspect(inspection))
        except RedisUnreachable as gone:
            away, new = str(gone), []
            inspection.lose()
        except NoPermissionError as problem:
            new = [unknown(f"no permission: {problem}", "ask again as a user who may look at it")]
        except QtctlError as problem:
            new = [unknown(f"could not be carried out: {problem}")]
        except Exception as bug:  # noqa: BLE001 - the others matter more than this one
            new = [unknown(f"could not be carried out: {type(bug).__name__}: {bug}")]
        found += [msgspec.structs.replace(it, check=check.name) for it in new]
    if away:
        unreachable = _away(inspection, away, sum(check.redis for check in checks))
        found.append(msgspec.structs.replace(unreachable, check="redis.reachable"))
    order = list(Level)
    return Report(tuple(sorted(found, key=lambda it: order.index(it.level))), away)


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
