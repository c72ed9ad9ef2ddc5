"""The settings: of this shell, of the units installed here, and of the services that run."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from qtctl.doctor.findings import Finding, ok, unknown, warning, wrong
from qtctl.doctor.hosts import EnvFile, Installed
from qtctl.doctor.inspection import Inspection
from qtctl.domain.gates import GATES, OFF, Limits
from qtctl.settings import environment
from qtctl.settings.catalog import by_variable
from qtctl.settings.environment import METRICS, REDIS_PARTS, Variables

Findings = Iterator[Finding]
_TOML = "/etc/quantum/qtctl.toml"
"""Where the packaged units look."""
_VARIABLE = re.compile(r"environment ([A-Z][A-Z0-9_]*)")
_ON_BY_DEFAULT = tuple(gate for gate in GATES if gate.zero_is_off and gate.on(Limits()))


def shell(inspection: Inspection) -> Findings:
    """What is odd about the settings of this shell."""
    if inspection.problem:
        yield wrong(inspection.problem, "no command of this shell works",
                    inspection.words.qtctl("config", "check"))  # fmt: skip
        return
    for what in inspection.warnings:
        found = _VARIABLE.match(what)
        command = (
            _in_shell(inspection, found[1]) if found else inspection.words.qtctl("config", "show")
        )
        yield warning(what, "the value in force is not what it looks like", command)
    if not inspection.warnings:
        yield ok("the settings of this shell are plain")


def units(inspection: Inspection) -> Findings:
    """The units installed here would start, with all their files."""
    if not inspection.installed:
        yield ok("no unit of qtctl is installed on this host")
    for each in inspection.installed:
        found = list(_unit(each))
        yield from found
        if not found:
            yield ok(f"{each.unit} would start")


def env_files(inspection: Inspection) -> Findings:
    """EnvironmentFiles: no trailing comments, no GOV_ or P31_ variable that nothing reads."""
    seen = False
    for each in inspection.installed:
        for file in each.files:
            if file.text is not None:
                seen = True
                found = [*_comments(file), *_unread(file, each)]
                yield from found
                if not found:
                    yield ok(f"{file.path}: {len(file.variables)} variables, all of them read")
    if not seen:
        yield ok("no EnvironmentFile is installed on this host")


def sanity(inspection: Inspection) -> Findings:
    """Values that are allowed, and that nobody can mean."""
    allocation, its = inspection.settings_of("allocation")
    governor, whose = inspection.settings_of("governor")
    found = [
        *_allocation_sane(inspection, allocation, its),
        *_governor_sane(inspection, governor, whose),
    ]
    if allocation["min_conf"] != governor["min_conf"]:
        found.append(
            warning(
                f"min_conf is {allocation['min_conf']:g} of {its}, and {governor['min_conf']:g} of "
                f"{whose}",
                "a score counts in one loop and not in the other",
                _change(inspection, "governor", "min_conf"),
            )
        )
    yield from found or [ok("the settings of both services are sane")]


def _in_shell(inspection: Inspection, name: str) -> str:
    """A value without its comment, or no variable where nothing reads it."""
    about = by_variable().get(name, ())
    if (
        not about
        or any(field.path == "redis.url" for field in about)
        or name not in inspection.environ
    ):
        return f"unset {name}"
    return f"export {name}={shlex.quote(Variables(inspection.environ).text(name))}"


def _unit(each: Installed) -> Findings:
    if each.problem:
        yield wrong(each.problem, f"{each.unit} would not come back after a restart",
                    f"systemctl cat {each.unit}")  # fmt: skip
    if each.unreadable:
        yield unknown(f"{each.unit}: {each.unreadable}", "root may read it", "sudo qtctl doctor")
    for file in each.files:
        if file.text is None and not file.optional and not file.problem:
            yield wrong(f"{file.path} of {each.unit} is not there", "the unit does not start",
                        "sudo qtctl deploy")  # fmt: skip


def _comments(file: EnvFile) -> Findings:
    for name, raw in file.variables.items():
        if not (name in by_variable() or name.startswith(("GOV_", "P31_", "QTCTL_"))):
            continue
        variables = Variables({name: raw}, f"file {file.path}")
        variables.text(name)
        for what in variables.warnings:
            yield warning(
                what,
                "systemd keeps it as a part of the value; other programs take it for one",
                _edit(file, name, "s/[[:space:]]+#.*$//"),
            )


def _unread(file: EnvFile, unit: Installed) -> Findings:
    """Variables that look like settings, and that the services of this unit do not read."""
    why = "somebody believes it in force, and it is not"
    unread = environment.unknown_old(Variables(file.variables, f"file {file.path}"))
    for name, problem in unread.items():
        yield warning(problem, why, _edit(file, name, "s/^/# /"))
    for name in file.variables:
        about = {field.section for field in by_variable().get(name, ())}
        others = about - set(unit.services)
        if name in METRICS or name in REDIS_PARTS or not others or others != about:
            continue
        if others <= {"allocation", "governor"}:
            what = (
                f"file {file.path} {name} is a setting of {' and '.join(sorted(others))}, which "
                f"{unit.unit} does not run"
            )
            yield warning(what, why, _edit(file, name, "s/^/# /"))


def _edit(file: EnvFile, name: str, change: str) -> str:
    """A sed command for the one line of a variable; an editor where it is no plain line."""
    plain = re.findall(rf"^{re.escape(name)}=[^'\"\\\n]*$", file.text or "", re.MULTILINE)
    mentioned = re.findall(rf"^\s*{re.escape(name)}\s*=", file.text or "", re.MULTILINE)
    if not name or len(plain) != 1 or len(mentioned) != 1:
        return f"sudoedit {shlex.quote(file.path)}"
    return f"sudo sed -i.bak -E '/^{name}=/{change}' {shlex.quote(file.path)}"


def _change(inspection: Inspection, service: str, key: str) -> str:
    """How to change a setting of an installed service; where none is installed, how to see it."""
    unit = next((each for each in inspection.installed if service in each.settings), None)
    if unit is None:
        return inspection.words.qtctl("config", "show", f"{service}.{key}")
    loaded = unit.settings[service]
    origin = loaded.origins[f"{service}.{key}"]
    names = [file.path for file in unit.files if any(name in origin for name in file.variables)]
    path = names[-1] if origin.startswith("environment ") and names else _TOML
    return f"sudoedit {shlex.quote(path)} && sudo systemctl restart {unit.unit}"


def _allocation_sane(inspection: Inspection, settings: Mapping[str, Any], whose: str) -> Findings:
    interval, ttl = settings["interval_sec"], settings["propose_key_ttl_sec"]
    if ttl <= interval:
        yield wrong(
            f"proposals live {ttl:g} s and are made every {interval:g} s ({whose})",
            "between two passes there are none",
            _change(inspection, "allocation", "propose_key_ttl_sec"),
        )
    if settings["min_mult"] == settings["max_mult"] or settings["scale"] == 0:
        yield warning(
            f"min_mult {settings['min_mult']:g}, max_mult {settings['max_mult']:g}, scale "
            f"{settings['scale']:g} ({whose})",
            "every multiplier is the same: the score changes nothing",
            _change(inspection, "allocation", "scale"),
        )


def _governor_sane(inspection: Inspection, settings: Mapping[str, Any], whose: str) -> Findings:
    for gate in _ON_BY_DEFAULT:
        key = gate.limits[0]
        if not settings.get(key, OFF[key]):
            yield warning(f"the {gate.name.replace('_', ' ')} gate is off: {key} is 0 ({whose})",
                          "opens pass it unseen",
                          _change(inspection, "governor", key))  # fmt: skip
    if settings["permit_ttl_sec"] > 300:
        yield warning(
            f"permit_ttl_sec is {settings['permit_ttl_sec']} ({whose})",
            "the Apply Layer waits 1.2 s: a permit that lies longer is traded on by surprise",
            _change(inspection, "governor", "permit_ttl_sec"),
        )
    if settings["downsize_threshold"] == 0 or settings["min_factor"] == 1:
        yield warning(
            f"downsize_threshold {settings['downsize_threshold']:g}, min_factor "
            f"{settings['min_factor']:g} ({whose})",
            "no permit is ever downsized",
            _change(inspection, "governor", "downsize_threshold"),
        )
    if inspection.settings.safety.allow_eviction:
        yield warning(
            "safety.allow_eviction is true (this shell)",
            "permits go on while Redis may forget decisions, and with them that a plan had its "
            "permit",
            inspection.words.qtctl("config", "show", "safety.allow_eviction"),
        )
