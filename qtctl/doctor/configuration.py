"""The settings: of this shell, of the units installed here, and of the services that run."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from qtctl.doctor.findings import Findings, ok, unknown, warning, wrong
from qtctl.doctor.hosts import EnvFile, Installed
from qtctl.doctor.inspection import Inspection
from qtctl.domain.gates import GATES, OFF, Limits
from qtctl.settings import SERVICES, environment
from qtctl.settings.catalog import by_variable
from qtctl.settings.environment import METRICS, REDIS_PARTS, Variables

_TOML = "/etc/quantum/qtctl.toml"
"""Where the packaged units look."""
_VARIABLE = re.compile(r"environment ([A-Z][A-Z0-9_]*)")
_ON_BY_DEFAULT = tuple(gate for gate in GATES if gate.zero_is_off and gate.on(Limits()))


def shell(inspection: Inspection) -> Findings:
    """What is odd about the settings of this shell."""
    if inspection.problem:
        why = "no command of this shell works, but for halt and resume where [redis] alone is valid"
        yield wrong(inspection.problem, why,
                    inspection.qtctl("config", "check"))  # fmt: skip
        return
    for what in inspection.warnings:
        found = _VARIABLE.match(what)
        command = _in_shell(inspection, found[1]) if found else inspection.qtctl("config", "show")
        yield warning(what, "the value in force is another than the one given", command)
    if not inspection.warnings:
        yield ok("the settings of this shell have nothing odd")


def units(inspection: Inspection) -> Findings:
    """The units installed here would start, with all their files."""
    if not inspection.installed:
        yield ok("no unit of qtctl is installed on this host")
    for each in inspection.installed:
        yield from list(_unit(each)) or [ok(f"{each.unit} would start")]


def env_files(inspection: Inspection) -> Findings:
    """EnvironmentFiles: no trailing comments, no GOV_ or P31_ variable that nothing reads."""
    read = [(it, file) for it in inspection.installed for file in it.files if file.text is not None]
    for each, file in read:
        found = [*_comments(file), *_unread(file, each)]
        fine = f"{file.path}: {len(file.variables)} variables, all of them read"
        yield from found or [ok(fine)]
    if not read:
        yield ok("no EnvironmentFile is installed on this host")


def sanity(inspection: Inspection) -> Findings:
    """Values that are allowed, and that nobody can mean."""
    allocation, its = inspection.settings_of("allocation")
    governor, whose = inspection.settings_of("governor")
    found = list(_allocation_sane(inspection, allocation, its))
    found += _governor_sane(inspection, governor, whose)
    one, other = allocation["min_conf"], governor["min_conf"]
    if one != other:
        what = f"min_conf is {one:g} of {its}, and {other:g} of {whose}"
        why = "a score counts in one loop and not in the other"
        found.append(warning(what, why, _change(inspection, "governor", "min_conf")))
    yield from found or [ok("the settings of both services are sane")]


def _in_shell(inspection: Inspection, name: str) -> str:
    """A value without its comment, or no variable where nothing reads it."""
    about = by_variable().get(name, ())
    in_url = any(field.path == "redis.url" for field in about)
    if not about or in_url or name not in inspection.environ:
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
        why = "systemd keeps it as a part of the value; other programs take it for one"
        for what in variables.warnings:
            yield warning(what, why, _edit(file, name, "s/[[:space:]]+#.*$//"))


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
        if others <= set(SERVICES):
            what = f"file {file.path} {name} is a setting of {' and '.join(sorted(others))}, which "
            yield warning(f"{what}{unit.unit} does not run", why, _edit(file, name, "s/^/# /"))


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
        return inspection.show(f"{service}.{key}")
    loaded = unit.settings[service]
    origin = loaded.origins[f"{service}.{key}"]
    names = [file.path for file in unit.files if any(name in origin for name in file.variables)]
    path = names[-1] if origin.startswith("environment ") and names else _TOML
    return f"sudoedit {shlex.quote(path)} && sudo systemctl restart {unit.unit}"


def _allocation_sane(inspection: Inspection, settings: Mapping[str, Any], whose: str) -> Findings:
    interval, ttl = settings["interval_sec"], settings["propose_key_ttl_sec"]
    if ttl <= interval:
        what = f"proposals live {ttl:g} s and are made every {interval:g} s ({whose})"
        fix = _change(inspection, "allocation", "propose_key_ttl_sec")
        yield wrong(what, "between two passes there are none", fix)
    least, most, scale = (settings[name] for name in ("min_mult", "max_mult", "scale"))
    if least == most or scale == 0:
        what = f"min_mult {least:g}, max_mult {most:g}, scale {scale:g} ({whose})"
        why = "every multiplier is the same: the score changes nothing"
        yield warning(what, why, _change(inspection, "allocation", "scale"))


def _governor_sane(inspection: Inspection, settings: Mapping[str, Any], whose: str) -> Findings:
    for gate in _ON_BY_DEFAULT:
        key = gate.limits[0]
        if not settings.get(key, OFF[key]):
            yield warning(f"the {gate.name.replace('_', ' ')} gate is off: {key} is 0 ({whose})",
                          "opens pass it unchecked",
                          _change(inspection, "governor", key))  # fmt: skip
    if settings["permit_ttl_sec"] > 300:
        what = f"permit_ttl_sec is {settings['permit_ttl_sec']} ({whose})"
        why = "the Apply Layer waits 1.2 s: a permit that is left longer is traded on by surprise"
        yield warning(what, why, _change(inspection, "governor", "permit_ttl_sec"))
    threshold, factor = settings["downsize_threshold"], settings["min_factor"]
    if threshold == 0 or factor == 1:
        what = f"downsize_threshold {threshold:g}, min_factor {factor:g} ({whose})"
        fix = _change(inspection, "governor", "downsize_threshold")
        yield warning(what, "no permit is ever downsized", fix)
    if inspection.settings.safety.allow_eviction:
        why = "permits go on while Redis may forget decisions: a plan may get a second permit"
        fix = inspection.show("safety.allow_eviction")
        yield warning("safety.allow_eviction is true (this shell)", why, fix)
