"""The commands of a report, run one after another in this process; what each has made is found again the next time."""

import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from landscape_cli.errors import BatchError, InterruptedRunError
from landscape_cli.jobs.report_plan import Step
from landscape_cli.store.atomic import write_json, write_text

MADE_NAME = "made.json"


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

    Args:
        folder: The report's.
        forget: Whether all is to be made anew.
    """

    def __init__(self, folder: Path, *, forget: bool = False) -> None:
        self._file = folder / MADE_NAME
        self._made: dict[str, tuple[str, str | None]] = {}
        if not forget:
            with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # missing, damaged: made anew
                kept = json.loads(self._file.read_text(encoding="utf-8"))
                self._made = {str(name): (str(digest), problem) for name, (digest, problem) in kept.items()}

    def has(self, step: Step) -> bool:
        """Whether a step's result is there and was made by the same command from the same things."""
        return step.result.exists() and self._made.get(step.name, ("", None))[0] == self._digest(step)

    def waiting(self, steps: Sequence[Step]) -> list[Step]:
        """Those of a plan that are to be made: what is not there, and what reads such a one."""
        found: list[Step] = []
        for step in steps:
            if not self.has(step) or any(earlier.name in step.after for earlier in found):
                found.append(step)
        return found

    def problem(self, step: Step) -> str | None:
        """What is missing in a step's result."""
        return self._made[step.name][1]

    def note(self, step: Step, problem: str | None = None) -> None:
        """A step is made, whole or with a problem."""
        self._made[step.name] = (self._digest(step), problem)
        write_json(self._file, self._made)

    def _digest(self, step: Step) -> str:
        earlier = [self._made.get(name, (None, None))[0] for name in step.after]
        text = json.dumps([step.command, step.inputs, earlier], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make(step: Step, ledger: Ledger, *, quiet: bool = False) -> Made:
    """Run a step's command, unless its result is there.

    A command that fails leaves its error on stderr, as it would alone, and its first line is what the report says.
    With ``quiet`` nothing but errors is told.

    Raises:
        InterruptedRunError: If it was interrupted: the same report goes on with it.
    """
    if ledger.has(step):
        return Made(step, step.result, ledger.problem(step), kept=True)
    from landscape_cli.cli.app import run

    printed, told = io.StringIO(), _Listening(sys.stderr, quiet=quiet)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        status = run(list(step.command))
    if status == InterruptedRunError.exit_code:
        raise InterruptedRunError("stopped; what is made is kept", "the same command goes on")
    some = status == BatchError.exit_code  # the rest of the items is there
    if status not in (0, BatchError.exit_code) or (step.captured and not printed.getvalue()):
        return Made(step, None, told.error or "it gave no result")
    if step.captured:
        write_text(step.result, printed.getvalue())
    if not step.result.exists():
        return Made(step, None, told.error or "it gave no result")
    problem = told.error if some else None
    ledger.note(step, problem)
    return Made(step, step.result, problem)


class _Listening:
    """stderr, with an ear for the first error."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self.error: str | None = None

    def write(self, text: str) -> int:
        if self.error is None and text.startswith("error: "):
            self.error = text.removeprefix("error: ").strip()
        return len(text) if self._quiet and not text.startswith(("error: ", "  hint: ")) else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
