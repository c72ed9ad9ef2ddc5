"""`qtctl completion`: what a shell needs to complete command lines, plan_ids and symbols too."""

import sys
from importlib import resources
from typing import Annotated

from qtctl.cli.framework import Context, arg, command, group

app = group(
    "completion",
    help="Shell completion: commands, options, settings, plan_ids and symbols.\n\n"
    "Names come from Redis, by the settings and the options on the line; where it does not answer "
    "at once, none is offered.",
    examples="""
    eval "$(qtctl completion bash)"
    qtctl completion fish > ~/.config/fish/completions/qtctl.fish
    """,
)


@command(app)
def bash(ctx: Context) -> None:
    """Print the script for bash 4.4 or later; read it in ~/.bashrc.

    Examples:
        eval "$(qtctl completion bash)"
        qtctl completion bash > /etc/bash_completion.d/qtctl
    """
    _print("qtctl.bash")


@command(app)
def zsh(ctx: Context) -> None:
    """Print the script for zsh; read it in ~/.zshrc behind compinit, or save it as _qtctl.

    Examples:
        eval "$(qtctl completion zsh)"
        qtctl completion zsh > /usr/local/share/zsh/site-functions/_qtctl
    """
    _print("qtctl.zsh")


@command(app)
def fish(ctx: Context) -> None:
    """Print the script for fish 3.4 or later.

    Examples:
        qtctl completion fish | source
        qtctl completion fish > ~/.config/fish/completions/qtctl.fish
    """
    _print("qtctl.fish")


@command(app, "answer", hidden=True)
def answer_shell(
    ctx: Context,
    shell: Annotated[str, arg("SHELL")],
    words: Annotated[list[str], arg("WORDS")],
) -> None:
    """What the scripts ask: a line with the kind of answer, then a line for each option.

    For bash the words are the line up to the cursor, and COMP_WORDBREAKS; else they are the words
    behind `qtctl`, the last being typed. Prints nothing on stderr and exits 0, whatever happens.

    Examples:
        qtctl completion answer zsh -- plan show ab
    """
    lines: list[str] = []
    try:
        lines = _lines(ctx, shell, words)
    except Exception:  # noqa: BLE001 - a border: somebody is typing, and asked for nothing
        lines = []
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _lines(ctx: Context, shell: str, words: list[str]) -> list[str]:
    from qtctl.cli.completion import bash_line, engine

    if shell != "bash":
        found = engine.answer(words, ctx)
        return [
            found.kind,
            *(f"{value}\t{help}" if help else value for value, help in found.options),
        ]
    line, breaks = words
    typed = bash_line.typed(line, breaks)
    if typed.ended:
        return ["files"]
    found = engine.answer(typed.words[1:], ctx)
    put = (bash_line.put(value, typed) for value, _ in found.options)
    return [found.kind, *(value for value in put if value is not None)]


def _print(name: str) -> None:
    script = resources.files("qtctl.cli.completion.shells").joinpath(name)
    sys.stdout.write(script.read_text(encoding="utf-8"))
