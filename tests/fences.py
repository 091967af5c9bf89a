"""Code blocks of Markdown pages: found, typed line by line, and held against the real commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from landscape_cli.cli.app import app

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SEPARATORS = {"|", "||", "&", "&&", ";", "(", ")", "|&"}


@dataclass(frozen=True)
class Fence:
    """A code block: its language, its text, the line it begins at."""

    language: str
    text: str
    line: int


def fences(markdown: str) -> list[Fence]:
    """The code blocks of a page, in order."""
    return [Fence(m["language"], m["text"], markdown.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(markdown)]


def typed(console: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines shown under it."""
    command: list[str] = []
    shown: list[str] = []
    for line in [*console.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), shown
            command, shown = [line[2:]], []
        elif line.startswith(">") and not shown:
            command.append(line[2:])
        else:
            shown.append(line)


def words(line: str) -> list[str]:
    """What a line of a table says apart from numbers: headings, paths, states."""
    cells = (cell.strip() for cell in re.split(r"\s{2,}", line))
    return [cell for cell in cells if re.search(r"[A-Za-z]", cell) and not re.fullmatch(r"[-+.\de]+", cell)]


def simple_commands(script: str) -> Iterator[list[str]]:
    """The words of every simple command of a shell script, without its redirections; variables have the value 1."""
    script = re.sub(r"\$\(\(.*?\)\)|\$\{?\w+\}?|\$[@*#?]", "1", script.replace("\\\n", " "))
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        command: list[str] = []
        redirected = False
        for word in lexer:
            if word in SEPARATORS:
                yield command
                command = []
            elif set(word) <= set("<>&|"):
                redirected = True
            elif redirected:
                redirected = False
            else:
                command.append(word)
        yield command


def landscape_calls(script: str) -> Iterator[list[str]]:
    """The words after ``landscape`` in a shell script: the name of a command and its arguments."""
    for command in simple_commands(script):
        if "landscape" in command:
            yield command[command.index("landscape") + 1 :]


def check_call(call: list[str]) -> None:
    """Have a call parsed by the very command it names.

    Raises:
        AssertionError: If there is no such command, option or value.
    """
    assert call, "a command is missing after 'landscape'"
    if call[0].startswith("-"):
        assert call[0] in ("--help", "-h", "--version", "--install-completion", "--show-completion"), call[0]
        return
    assert call[0] in COMMANDS, f"there is no command '{call[0]}'"
    try:
        COMMANDS[call[0]].make_context(call[0], list(call[1:]), resilient_parsing=False)
    except typer.TyperException as error:
        raise AssertionError(f"landscape {shlex.join(call)}: {error.format_message()}") from error


def links(markdown: str) -> list[tuple[str, str]]:
    """Targets of the links and images of a page that lie in the repository, each with its anchor."""
    prose = FENCE.sub("", markdown)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    found = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    inner = [target for target in found if not re.match(r"[a-z]+:", target)]
    return [(target.partition("#")[0], target.partition("#")[2]) for target in inner]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code forges and the site make them."""
    found = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found
