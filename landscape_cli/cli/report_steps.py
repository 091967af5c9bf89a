"""The commands of a report, run one after another in this process; what each has made is found again the next time."""

import contextlib
import hashlib
import io
import json
import sys
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
        self._made: dict[str, str] = {}
        if not forget:
            with contextlib.suppress(OSError, ValueError):  # missing or damaged: all is made anew
                self._made = json.loads(self._file.read_text(encoding="utf-8"))

    def has(self, step: Step) -> bool:
        """Whether a step's result is there and was made by the same command from the same things."""
        return step.result.exists() and self._made.get(step.name) == self._digest(step)

    def note(self, step: Step) -> None:
        """A step is made."""
        self._made[step.name] = self._digest(step)
        write_json(self._file, self._made)

    def _digest(self, step: Step) -> str:
        earlier = [self._made.get(name) for name in step.after]
        text = json.dumps([step.command, step.inputs, earlier], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make(step: Step, ledger: Ledger) -> Made:
    """Run a step's command, unless its result is there.

    A command that fails leaves its error on stderr, as it would alone, and its first line is what the report says.

    Raises:
        InterruptedRunError: If it was interrupted: the same report goes on with it.
    """
    if ledger.has(step):
        return Made(step, step.result, kept=True)
    from landscape_cli.cli.app import run

    printed, told = io.StringIO(), _Listening(sys.stderr)
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
    ledger.note(step)
    return Made(step, step.result, told.error if some else None)


class _Listening:
    """stderr, with an ear for the first error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: str | None = None

    def write(self, text: str) -> int:
        if self.error is None and text.startswith("error: "):
            self.error = text.removeprefix("error: ").strip()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
