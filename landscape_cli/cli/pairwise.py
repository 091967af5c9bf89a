"""One record for each of many pairs, whichever distance it is."""

from collections.abc import Callable, Sequence
from typing import Any

from landscape_cli.cli.output import Output
from landscape_cli.errors import InterruptedRunError, LandscapeError
from landscape_cli.jobs.pairs import Subject


def emit_pairs(
    output: Output, chosen: Sequence[tuple[Subject, Subject]], measure: Callable[[Subject, Subject], dict[str, Any]]
) -> None:
    """Measure and emit pair after pair; one that fails is told and leaves the others be.

    Raises:
        InterruptedRunError: On Ctrl-C.
        LandscapeError: If the only pair fails, or (at the end) some of many have.
    """
    with output.bar(len(chosen), "pairs") as show:
        for number, (a, b) in enumerate(chosen):
            try:
                output.emit(measure(a, b))
            except KeyboardInterrupt:
                raise InterruptedRunError(f"stopped at pair {number + 1} of {len(chosen)}") from None
            except LandscapeError as error:
                output.take(error, len(chosen))
            show(number + 1, len(chosen))
    output.finish(len(chosen), "pairs")
