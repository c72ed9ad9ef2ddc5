"""What stands before a command that could reach a real order, and the options that answer it."""

import sys
from typing import TYPE_CHECKING, Annotated

from qtctl.cli.framework.options import opt
from qtctl.errors import RefusedError

if TYPE_CHECKING:
    from qtctl.cli.framework.context import Context
    from qtctl.wire.client.store import Store

Force = Annotated[bool, opt("--force", "Override a refusal.")]
Yes = Annotated[bool, opt("--yes", "Answer every question with yes.")]
NoInput = Annotated[bool, opt("--no-input", "Never ask: refuse instead.")]
DryRun = Annotated[bool, opt("--dry-run", "Print what would be done; do nothing.")]
YesButRisk = Annotated[
    bool, opt("--yes", "Do not ask for confirmation, except of what raises risk.")
]
AcceptRisk = Annotated[
    list[str] | None,
    opt("--accept-risk LIMIT=VALUE", "Accept this limit being loosened to this value; repeatable."),
]
Finish = Annotated[bool, opt("--finish", "Finish one that was interrupted.")]
Root = Annotated[
    str | None, opt("--root DIR", "Stage the files in a folder: no systemd, no root needed.")
]
Wait = Annotated[str, opt("--wait S", "How long to wait for each service.")]
Reason = Annotated[str, opt("--reason TEXT", "Why; kept with the stop.")]


def refuse_other_groups(store: "Store", what: str, force: bool) -> None:
    """A plan that another group reads could become an order; a permit, what it waits for.
    Errors: RefusedError naming the groups, unless forced."""
    from qtctl.wire.client import xinfo
    from qtctl.wire.schema.keys import GROUP

    groups = [it.name for it in xinfo.groups(store, store.keys.plans) if it.name != GROUP]
    if groups and not force:
        raise RefusedError(
            f"{store.keys.plans} is also read by the group {', '.join(groups)}: {what}. "
            "Use another Redis (--redis-url embedded:), or --force"
        )


def agreed(ctx: "Context", question: str, *, yes: bool, no_input: bool) -> None:
    """Ask, and return only for a yes; in a protected context its name is the answer. Errors:
    RefusedError for a no, and without a terminal."""
    if ctx.confirmed:
        return
    if ctx.is_protected:
        if ctx.confirm_context is None:
            ctx.say(question)
        ctx.confirm(no_input=no_input)
        return
    if yes:
        return
    if no_input or not sys.stdin.isatty():
        ctx.say(question)  # An error hides what looks like a login, as operator:alice@desk does.
        raise RefusedError("there is no terminal to confirm on: pass --yes")
    ctx.say(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError("not done: the answer was no")
