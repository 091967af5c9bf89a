"""The commands of a report, run one after another in this process; what each has made is found again the next time."""

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import landscape_cli
from landscape_cli.errors import BatchError, InterruptedRunError
from landscape_cli.jobs.report_step import Step
from landscape_cli.store.atomic import TEMPORARY_PREFIX, replacing, write_json, write_text

MADE_NAME = "made.json"
ENDS = 8 << 20  # bytes at each end of a file by which it is known again
# What a report hears itself and says to its commands in so many words: they are to do what the page says they did.
HEARD = ("DEVICE", "PRECISION", "SEED", "THREADS", "FORMAT", "NO_PROGRESS")


@dataclass(frozen=True)
class Made:
    """What came of a step.

    Args:
        step: The step.
        result: Its file; None if there is none.
        problem: Why there is none, or what is missing in it; None if all went well.
        kept: Whether it was there already.
    """

    step: Step
    result: Path | None
    problem: str | None = None
    kept: bool = False


class Ledger:
    """Which results of a report's folder were made by which command from what: a file beside them.

    Paths in the folder are known by their names, so that the folder can be moved. A result that somebody else has
    written over is none.

    Args:
        folder: The report's.
        forget: Whether all is to be made anew.
    """

    def __init__(self, folder: Path, *, forget: bool = False) -> None:
        self.forget = forget
        self._folder = folder
        self._made: dict[str, dict[str, Any]] = {}
        self._drawn: list[str] = []
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):  # damaged: made anew
            kept = json.loads((folder / MADE_NAME).read_text(encoding="utf-8"))
            self._drawn = [Path(name).name for name in kept["drawn"]]
            if not forget:
                self._made = {
                    str(name): {"from": str(one["from"]), "files": dict(one["files"]), "problem": one["problem"]}
                    for name, one in kept["steps"].items()
                }

    def knows(self, step: Step) -> bool:
        """Whether there is a result of a step, of whatever it was made."""
        return step.name in self._made and step.result.exists()

    def has(self, step: Step) -> bool:
        """Whether a step's result is there and was made by the same command from the same things."""
        made = self._made.get(step.name)
        if made is None or made["from"] != self.digest(step):
            return False
        return all(made["files"].get(file.name, "") == _stamp(file) for file in step.files)

    def waiting(self, steps: Sequence[Step]) -> list[Step]:
        """Those of a plan that are to be made: what is not there, and what reads such a one."""
        found: list[Step] = []
        for step in steps:
            if not self.has(step) or any(earlier.name in step.after for earlier in found):
                found.append(step)
        return found

    def problem(self, step: Step) -> str | None:
        """What is missing in a step's result."""
        problem = self._made[step.name]["problem"]
        return None if problem is None else str(problem)

    def note(self, step: Step, problem: str | None = None) -> None:
        """A step is made, whole or with a problem."""
        files = {file.name: _stamp(file) for file in step.files}
        self._made[step.name] = {"from": self.digest(step), "files": files, "problem": problem}
        self._write()

    def draw(self, names: Sequence[str]) -> None:
        """These pictures and tables are drawn now: those of an earlier report which are not among them go."""
        for name in set(self._drawn) - set(names):
            (self._folder / name).unlink(missing_ok=True)
        self._drawn = sorted(names)
        self._write()

    def _write(self) -> None:
        write_json(self._folder / MADE_NAME, {"steps": self._made, "drawn": self._drawn})

    def digest(self, step: Step) -> str:
        """All that a step's result depends on: its command, what that reads, and who reads it."""
        words = [Path(word).name if Path(word).parent == self._folder else word for word in step.command]
        earlier = [self._made.get(name, {}).get("from") for name in step.after]
        text = json.dumps([landscape_cli.__version__, words, step.inputs, earlier], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stamp(file: Path) -> str | None:
    """By what a file is known again: its size and its ends; None if it is not there."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            digest = hashlib.blake2b(opened.read(ENDS), digest_size=12)
            if size > 2 * ENDS:
                opened.seek(-ENDS, os.SEEK_END)
            digest.update(opened.read(ENDS))
    except OSError:
        return None
    return f"{size}:{digest.hexdigest()}"


def make(step: Step, ledger: Ledger, *, quiet: bool = False, progress: bool = True) -> Made:
    """Run a step's command, unless its result is there.

    It writes under other names, which become those of the result when it is whole: until then the result of another
    command stays. A command that fails leaves its error on stderr, as it would alone, and its first line is what the
    report says.

    Args:
        step: What to make.
        ledger: What was made before.
        quiet: Tell nothing but errors.
        progress: Whether the command shows its bars.

    Raises:
        InterruptedRunError: If it was interrupted: the same report goes on with it.
        StorageError: If its result cannot be written.
    """
    if ledger.has(step):
        return Made(step, step.result, ledger.problem(step), kept=True)
    from landscape_cli.cli.app import run

    partial = {file: file.with_name(f"{TEMPORARY_PREFIX}{ledger.digest(step)[:8]}-{file.name}") for file in step.files}
    for file in () if step.goes_on and not ledger.forget else partial.values():
        file.unlink(missing_ok=True)
    names = {str(file): str(other) for file, other in partial.items()}
    words = [names.get(word, word) for word in step.command] + ["--force"] * (ledger.forget and step.inputs is not None)
    printed, told = io.StringIO(), _Listening(sys.stderr, names, quiet=quiet)
    with _unheard(progress), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        status = run(words)
    if status == InterruptedRunError.exit_code:
        raise InterruptedRunError("stopped; what is made is kept", "the same command goes on")
    some = status == BatchError.exit_code  # the rest of the items is there
    if step.captured and printed.getvalue():
        write_text(partial[step.result], printed.getvalue())
    if status not in (0, BatchError.exit_code) or not all(file.exists() for file in partial.values()):
        return Made(step, None, told.error or "it gave no result")
    for file, other in partial.items():
        with replacing(file) as temporary:
            other.replace(temporary)
    problem = told.error if some else None
    ledger.note(step, problem)
    return Made(step, step.result, problem)


@contextlib.contextmanager
def _unheard(progress: bool) -> Iterator[None]:
    """Without the environment's words for options that a report has too."""
    names = {f"LANDSCAPE_{name}" for name in HEARD}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    if not progress:
        os.environ["LANDSCAPE_NO_PROGRESS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("LANDSCAPE_NO_PROGRESS", None)
        os.environ.update(before)


class _Listening:
    """stderr, with an ear for the first error; unfinished files are called by the names that they will have."""

    def __init__(self, stream: TextIO, names: dict[str, str], *, quiet: bool) -> None:
        self._stream = stream
        self._names = names
        self._quiet = quiet
        self.error: str | None = None

    def write(self, text: str) -> int:
        for file, other in self._names.items():
            text = text.replace(other, file)
        if self.error is None and text.startswith("error: "):
            self.error = text.removeprefix("error: ").strip()
        return len(text) if self._quiet and not text.startswith(("error: ", "  hint: ")) else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
