"""What `qtctl top` shows, and what its keys do: pages by number, what was opened from them on top,
a line to type at the foot. Nothing here reads Redis or the terminal."""

from collections.abc import Callable, Sequence

from rich.text import Text

from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.aside import Job
from qtctl.cli.live.halting import report_lines
from qtctl.cli.live.page import ListPage, Moment, Page, Words
from qtctl.cli.live.pages.blocked import BlockedPage
from qtctl.cli.live.pages.events import EventsPage
from qtctl.cli.live.pages.health import HealthPage, headline
from qtctl.cli.live.pages.help import HelpPage
from qtctl.cli.live.pages.message import MessagePage
from qtctl.cli.live.pages.permits import PermitsPage
from qtctl.cli.live.pages.queue import QueuePage
from qtctl.cli.live.pages.symbols import SymbolsPage
from qtctl.cli.live.poller import TopSnapshot
from qtctl.cli.live.prompt import Prompt
from qtctl.cli.output import format
from qtctl.cli.views.why_commands import shell_word
from qtctl.doctor.command_lines import joined, own_words
from qtctl.text import escape

PAGES = (HealthPage, SymbolsPage, PermitsPage, BlockedPage, QueuePage, EventsPage)
QUITS = ("q", "Q", "\x04")


class View:
    """The state of the screen: what the keys change. halt: starts to halt a symbol."""

    def __init__(self, ctx: Context, halt: Callable[[str], Job]) -> None:
        self._ctx = ctx
        self._halt = halt
        self._pages: list[Page] = [made(ctx) for made in PAGES]
        self._stack: list[Page] = [self._pages[0]]
        self._prompt: Prompt | None = None
        self._refused: Page | None = None
        context = ctx.loaded.context
        self._where = ctx.where() if context is None else f"{context.name}: {ctx.where()}"
        self.paused = False

    @property
    def page(self) -> Page:
        """The one on top."""
        return self._stack[-1]

    def pressed(self, key: str) -> bool:
        """What a key does; False for the one that quits."""
        if self._prompt is not None:
            if not self._prompt.pressed(key):
                self._prompt = None
            return True
        if key in QUITS:
            return False
        if not self.page.pressed(key):
            self._common(key)
        return True

    def _common(self, key: str) -> None:
        """Keys that mean the same on every page."""
        actions: dict[str, Callable[[], None]] = {
            "\r": self._enter, "\n": self._enter, "right": self._enter,
            "escape": self._back, "left": self._back,
            "\t": lambda: self._switch(1), "back tab": lambda: self._switch(-1),
            "/": self._ask_filter, "h": self._ask_halt, "c": self._show_commands,
            "?": self._help, "p": self._pause,
        }  # fmt: skip
        if key in actions:
            actions[key]()
        elif key.isdecimal() and 1 <= int(key) <= len(self._pages):
            self._stack = [self._pages[int(key) - 1]]

    def _switch(self, step: int) -> None:
        at = self._pages.index(self._stack[0])
        self._stack = [self._pages[(at + step) % len(self._pages)]]

    def _enter(self) -> None:
        opened = self.page.entered()
        if opened is not None:
            self.page.hold()
            self._stack.append(opened)

    def _back(self) -> None:
        """One page back; on the lowest, what was filtered and sorted is as it comes again."""
        if len(self._stack) > 1:
            self._stack.pop()
        elif isinstance(self.page, ListPage):
            self.page.selection.clear()

    def _pause(self) -> None:
        self.paused = not self.paused

    def _help(self) -> None:
        if isinstance(self.page, HelpPage):
            self._stack.pop()
        else:
            self._stack.append(HelpPage(self._ctx))

    def _ask_filter(self) -> None:
        page = self.page
        if isinstance(page, ListPage):
            selection = page.selection
            self._prompt = Prompt(
                "Filter by a part of a name; Enter keeps it, Esc clears it.",
                done=selection.filter,
                cancelled=lambda: selection.filter(""),
                changed=selection.filter,
                typed=selection.wanted,
            )

    def _ask_halt(self) -> None:
        if self.page is self._refused:
            self._stack.pop()
        symbol = self.page.symbol
        if not symbol:
            self._tell("halt", ["No symbol is selected: 2 lists them. 'qtctl halt' stops all."])
            return
        self.page.hold()
        self._prompt = Prompt(
            f"HALT opens of {symbol} on {self._where} (closes still pass)? "
            "Type the symbol and Enter; Esc cancels.",
            lambda typed: self._confirmed(symbol, typed),
        )

    def _confirmed(self, symbol: str, typed: str) -> None:
        if typed.strip() != symbol:
            instead = f"{typed.strip()!r} was typed" if typed.strip() else "nothing was typed"
            again = "h asks again, Esc goes back."
            self._tell("not halted", [f"Nothing is halted: {instead}, not {symbol!r}. {again}"])
            self._refused = self.page
            return
        job = self._halt(symbol)
        self._stack.append(
            MessagePage(self._ctx, f"halt {symbol}", lambda: report_lines(job, symbol))
        )

    def _show_commands(self) -> None:
        own = own_words(self._ctx.redis_url, self._ctx.config, self._ctx.sets, self._ctx.context)
        pairs = list(self.page.commands())
        if self.page.symbol:
            pairs.append(("halt the selected symbol", ("halt", self.page.symbol)))
        lines = [part for what, words in pairs for part in (f"{what}:", _command(own, words), "")]
        self._tell("on the command line", lines or ["There is no command for this page."])

    def _tell(self, title: str, lines: Sequence[str]) -> None:
        found = [(line, "") for line in lines]
        self._stack.append(MessagePage(self._ctx, title, lambda: found))

    def frame(self, seen: TopSnapshot, now: float, width: int, height: int) -> list[Text]:
        """The whole screen, `height` lines; now: monotonic, as in `seen`."""
        moment = Moment(seen, now, self._ctx.utc, self.paused)
        lines = [self._title(moment), self._headline(moment), self._tabs(width)]
        foot = self._foot(width)[-max(1, height - len(lines) - 1) :]
        page, room = self.page, height - len(lines) - len(foot)
        age = page.age(moment)
        old = [Text(escape(age), "bold red")] if age else []
        body = page.draw(moment, width, max(1, room - len(old)))
        if page.is_old(moment):
            body = drawing.dimmed(body)
        lines = [*lines, *old, *body][: max(0, height - len(foot))]
        lines += [Text() for _ in range(height - len(foot) - len(lines))]
        return [drawing.fitted(each, width) for each in (*lines, *foot)][:height]

    def _title(self, moment: Moment) -> Text:
        """Where and when; while Redis does not answer that stands in its place: nothing moves."""
        seen = moment.seen
        if seen.away_since is not None:
            return Text(escape(away(seen, moment.now, moment.utc)), "reverse")
        at = format.moment(seen.overall.at, moment.utc)
        paused = Text.assemble(("PAUSED", "reverse"), "  ") if self.paused else Text()
        # Where it is may be long, and is cut first.
        return Text.assemble((f"qtctl top  {at}  ", "bold"), paused, (escape(self._where), "bold"))

    def _headline(self, moment: Moment) -> Text:
        """What is wrong, the worst first, on every page."""
        alarm = headline(moment.seen.overall)
        line = Text(escape(alarm), "bold red") if alarm else Text("no incident", "green")
        return drawing.dimmed([line])[0] if moment.seen.away_since is not None else line

    def _tabs(self, width: int) -> Text:
        """The pages by number, or the way to what was opened from one."""
        if len(self._stack) > 1:
            way = " › ".join(page.title for page in self._stack)
            return Text(escape(way), "bold underline")
        tabs = Text()
        short = width < 60
        for number, page in enumerate(self._pages, 1):
            here = page is self.page
            # Square brackets, too: colour and reverse video may be missing.
            name = page.title if here or not short else ""
            label = f"{number} {name}".rstrip()
            tabs.append(f"[{label}]" if here else f" {label} ", "reverse" if here else "")
        return tabs

    def _foot(self, width: int) -> list[Text]:
        """What may be pressed, or the question and what is typed."""
        if self._prompt is not None:
            lines = drawing.wrapped(self._prompt.question, width, "reverse")
            typed = escape(f"> {self._prompt.typed}_")
            # The end is where one types.
            end = typed if len(typed) <= width else f"…{typed[1 - width :]}"
            return [drawing.fitted(each, width) for each in (*lines, Text(end, "reverse"))]
        page = self.page
        hints = [*page.hints]
        hints += ["h halt"] if page.symbol else []
        hints += ["Esc back"] if len(self._stack) > 1 else []
        hints += ["p resume"] if self.paused else []
        hints += ["c command"] if page.commands() else []
        # What there is no room for stands in the help.
        ends, room = ["? help", "q quit"], width
        shown = [each for each in ends if (room := room - len(each) - 2) >= -2]
        kept = [each for each in hints if (room := room - len(each) - 2) >= -2]
        return [drawing.fitted(Text("  ".join([*kept, *shown]), "reverse"), width)]


def _command(own: str, words: Words) -> str:
    """A command line. Its last word may be a name that others chose."""
    return f"{joined(own, words[:-1])} {shell_word(words[-1])}"


def away(seen: TopSnapshot, now: float, utc: bool) -> str:
    """That Redis does not answer, for how long, and how old what is shown is."""
    gone = format.span(max(0.0, now - (seen.away_since or now)))
    at = format.moment(seen.overall.at, utc).partition(" ")[2]
    return f"NO ANSWER for {gone}, as of {at}: {seen.problem}"
