"""Shell blocks of pages, run in this process: pipes, files, patterns and variables as a shell has them."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path
from unittest import mock

from landscape_cli.cli.app import run

# What makes a command quick. Of an option given twice the last counts, so these go over the page's own numbers.
SMALLER = {
    "train": ["--train-size", "160", "--batch-size", "16"],
    "sweep": ["--set", "epochs=1", "--jobs", "1"],
    "spawn": ["--jobs", "1"],
    "linearize": ["--epochs", "1", "--jobs", "1"],
    "curve": ["--epochs", "1", "--points", "3"],
    "barrier": ["--samples", "40", "--points", "3", "--refine", "0"],
    "compare": ["--samples", "40", "--points", "3", "--kernel-samples", "4"],
    "plane": ["--samples", "40", "--grid", "3"],
    "predict": ["--samples", "40"],
    "relu-dist": ["--samples", "40"],
    "kernel-dist": ["--samples", "4"],
    "kernel-velocity": ["--samples", "4"],
    "gradient-dist": ["--samples", "8"],
    "hessian": ["--samples", "20", "--parts", "1"],
    "escape": ["--samples", "96"],
}
# With these a command is quick already, and takes none of the above.
QUICK = {"--solve", "--along", "--list-presets"}
INSTEAD = {"cuda": "cpu", "5000": "8", "widths=512,512,512,512": "widths=16,16"}
# What other tests run, or what no test can.
ELSEWHERE = {
    "pip": "fetches packages",
    "bash": "the scripts of examples/ have tests of their own",
    "make": "make demo is landscape demo; make test is what runs here",
    "demo": "tests/cli/test_demo.py",
    "report": "tests/cli/test_report.py",
    "--install-completion": "changes the user's shell",
}


def pipelines(script: str, task: int = 0) -> list[tuple[list[list[str]], str | None]]:
    """The pipelines of a script: each its commands, and the file it is written to.

    A variable that nobody set is 0; the number of a job in its array is ``task``.

    >>> pipelines("a 'b c' | d > e  # f\\n#!g\\nh && i")
    [([['a', 'b c'], ['d']], 'e'), ([['h']], None), ([['i']], None)]
    >>> pipelines('n=$((40 + ID))\\na "x$n" |\\n    b -$((n + 1)) \\\\\\n    c')
    [([['a', 'x40'], ['b', '-41', 'c']], None)]
    """
    found: list[tuple[list[list[str]], str | None]] = []
    variables = {"SLURM_ARRAY_TASK_ID": str(task)}
    for line in script.replace("\\\n", " ").replace("|\n", "| ").splitlines():
        line = re.sub(r"\$\(\((.*?)\)\)", lambda m: str(sum(_number(w, variables) for w in m[1].split("+"))), line)
        line = re.sub(r"\$\{?(\w+)\}?", lambda m: variables.get(m[1], "0"), line)
        if setting := re.fullmatch(r"(\w+)=(\S*)", line):
            variables[setting[1]] = setting[2]
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        commands: list[list[str]] = [[]]
        words = iter([*lexer, "&&"])
        target = None
        for word in words:
            if word == "&&":
                found += [(commands, target)] if commands[0] else []
                commands, target = [[]], None
            elif word == "|":
                commands.append([])
            elif word == ">":
                target = next(words)
            else:
                commands[-1].append(word)
    return found


def _number(word: str, variables: dict[str, str]) -> int:
    word = word.strip()
    return int(word if word.isdigit() else variables.get(word, "0"))


def type_in_here(script: str, task: int = 0) -> int:
    """Run a script in the working directory, made small, as one job of an array; how many commands it ran.

    Raises:
        AssertionError: If a command does not end well, or nobody knows how to run it.
    """
    done = 0
    for commands, target in pipelines(script, task):
        said = ""
        for command in commands:
            words = [path for word in command for path in (_matches(word))]
            if words[0] in ELSEWHERE or words[1] in ELSEWHERE:
                continue
            assert words[0] in ("landscape", "cat"), f"who runs '{words[0]}'?"
            said = _called(words[1:], said) if words[0] == "landscape" else _joined(words[1:])
            done += 1
        if target is not None:
            Path(target).write_text(said, encoding="utf-8")
    return done


def _matches(word: str) -> list[str]:
    """The paths that a pattern matches, hidden ones apart; without any it stays itself."""
    if not re.search(r"[*?]", word) or re.search(r"\s|=", word):
        return [word]
    return sorted(str(path) for path in Path().glob(word) if not path.name.startswith(".")) or [word]


def _joined(files: list[str]) -> str:
    return "".join(Path(file).read_text(encoding="utf-8") for file in files)


def _called(words: list[str], given: str) -> str:
    """What a command says on stdout, given its stdin."""
    words = words + ([] if QUICK & set(words) else SMALLER.get(words[0], []))
    if words[0] == "train":
        words += ["--jobs", "1"] if "--seeds" in words else []
        words += ["--width", "0.1"] if "simple-cnn" in words else []
        words += ["--epochs", "0.2", "--width", "0.05"] if "--preset" in words else []
    if "grid.toml" in words and words[0] == "sweep":
        words += ["--set", "width=0.05"]
    words = [INSTEAD.get(word, word) for word in words]
    said, told = io.StringIO(), io.StringIO()
    stdin = mock.patch.object(sys, "stdin", io.StringIO(given))
    with stdin, contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        status = run(words)
    assert status == 0, f"landscape {shlex.join(words)}: status {status}\n{told.getvalue()}{said.getvalue()}"
    return said.getvalue()
