"""The services: alive, ready, of this version; and their ports, free or ours."""

from qtctl import __version__, probe
from qtctl.doctor.findings import Finding, Findings, ok, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.doctor.queues import room_for
from qtctl.settings import SERVICES
from qtctl.wire.schema.service import ServiceRecord

_NOT_DONE = {"governor": "no plan is judged", "allocation": "nothing is proposed"}


def alive(inspection: Inspection) -> Findings:
    """Each has a record, and a pass not long ago."""
    for service in SERVICES:
        found = inspection.running[service]
        stream = inspection.plan_stream
        if not found and service == "governor" and stream.other_type:
            # It may well run: without its stream it can't even begin, and has no record.
            yield wrong(f"no governor can work: {stream.name} is a {stream.other_type}",
                        "no plan is judged until that key is out of the way",
                        inspection.redis_cli(*room_for(stream.name)))  # fmt: skip
        elif not found:
            why = "no permit is issued" if service == "governor" else "nothing is proposed"
            yield wrong(f"no {service} runs on this Redis", why, inspection.start(service))
        for each in found:
            age = each.age_sec(inspection.now)
            if each.is_late(inspection.now):
                most = each.late_after_sec
                why = f"it should be {most:.0f} s at most: the loop hangs, or its host does"
                what = f"{_name(each)} is late: no pass for {age:,.0f} s"
                if probe.process_is_gone(each.host, each.pid):
                    what += f", and its process {each.pid} is gone"
                    why = "it was killed or has crashed: its record outlives it"
                yield wrong(what, why, _restart(inspection, each))
            else:
                yield ok(f"{_name(each)}: last pass {age:,.0f} s ago")


def ready(inspection: Inspection) -> Findings:
    """/readyz of those that run on this host."""
    found = _running(inspection)
    for each in found:
        place = probe.here(each.host, each.metrics)
        if place is None:
            yield _unasked(inspection, each)
        else:
            yield _readiness(inspection, each, *place)
    if not found:
        yield ok("no service is running that could be queried")


def versions(inspection: Inspection) -> Findings:
    """All of this version."""
    running = [*_running(inspection), *inspection.recorders]
    others = [it for it in running if it.version != __version__]
    for each in others:
        why = "what this shell knows of keys, gates and settings may not be what it does"
        yield warning(f"{_name(each)} is {each.version or '?'}, this is {__version__}", why,
                      _restart(inspection, each))  # fmt: skip
    if not others:
        yield ok(f"all of version {__version__}")


def discovery(inspection: Inspection) -> Findings:
    """How the allocation loops find new targets."""
    for each in inspection.running["allocation"]:
        if each.scans_because:
            yield warning(
                f"{_name(each)} looks for new targets by SCAN: {each.scans_because}",
                "the more keys others have the longer a pass takes, and above 100,000 a new target "
                "waits up to three passes: its user needs the rights in etc/redis-acl.conf",
                inspection.redis_cli("acl", "list"),
            )
        elif each.discovery:
            yield ok(f"{_name(each)}: the server reports new targets")


def ports_free(inspection: Inspection) -> Findings:
    """The ports of the settings: nobody is there, or the service that should be."""
    for service in SERVICES:
        settings, source = inspection.settings_of(service)
        host, port = str(settings["metrics_addr"]), int(settings["metrics_port"])
        if port == 0:
            yield ok(f"{service} takes any free port")
            continue
        what = f"{host}:{port} of {service}, by {source},"
        if not probe.is_here(host):
            yield ok(f"{what} is not on this host: not asked")
            continue
        answer = probe.ready(host, port)
        if answer.who == "nobody":
            yield ok(f"{what} is free")
        elif answer.who == "qtctl" and (inspection.connected or answer.ready):
            yield ok(f"{what} is a service of qtctl")
        elif answer.who == "qtctl":
            # The only way to hear of it while Redis, and its record there, is away.
            yield wrong(f"{what} says {answer.text}", "it does no work",
                        _logs(inspection, service, f"{host}:{port}"))  # fmt: skip
        else:
            silent = answer.who == "silent"
            speaks = "a process that does not answer" if silent else "another program"
            why = f"{service} can't start, and what is scraped there is not {service}"
            yield wrong(f"{what} is taken by {speaks}", why, f"sudo ss -ltnp sport = :{port}")


def _running(inspection: Inspection) -> list[ServiceRecord]:
    return [each for service in SERVICES for each in inspection.running[service]]


def _readiness(inspection: Inspection, each: ServiceRecord, host: str, port: int) -> Finding:
    answer = probe.ready(host, port)
    what = f"{_name(each)} at {host}:{port}"
    if answer.who == "qtctl" and answer.ready:
        return ok(f"{what}: {answer.text}")
    why = "it runs and does no work" if each.service == "allocation" else "no permit is issued"
    if answer.who == "qtctl":
        return wrong(f"{what}: {answer.text}", why,
                     _logs(inspection, each.service, each.metrics))  # fmt: skip
    words = {"nobody": "nobody listens there", "silent": "no answer in time"}
    what += f": {words.get(answer.who, 'another program answers')}"
    why = f"it hangs or was killed, and {_NOT_DONE[each.service]}; its record outlives it a little"
    if answer.who not in words:
        why = "it can be neither scraped nor watched"
    return wrong(what, why, _restart(inspection, each))


def _unasked(inspection: Inspection, each: ServiceRecord) -> Finding:
    """By its record alone: it runs elsewhere, or has no port yet."""
    if probe.address(each.metrics) is None:
        see = inspection.show(f"{each.service}.metrics_port")
        return warning(f"{_name(each)} listens on no port", "it can't be scraped", see)
    what = f"{_name(each)} runs on {each.host}:"
    if each.is_late(inspection.now):
        return unknown(f"{what} not asked there")
    return ok(f"{what} by its record, not asked there")


def _restart(inspection: Inspection, each: ServiceRecord) -> str:
    unit = inspection.unit_of(each.service) if each.host == inspection.host else None
    if unit:
        return f"sudo systemctl restart {unit}"
    return inspection.words.serve(each.service)


def _logs(inspection: Inspection, service: str, at: str) -> str:
    """Where it says more: nothing that needs Redis, where that may be what is away."""
    unit = inspection.unit_of(service)
    return f"journalctl -u {unit} -n 50" if unit else f"curl -s http://{at}/readyz"


def _name(each: ServiceRecord) -> str:
    return f"{each.service} {each.name}"
