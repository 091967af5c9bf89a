"""One record for each of many pairs, whichever distance it is; a matrix of them if asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from landscape_cli.cli.output import Output
from landscape_cli.errors import InterruptedRunError, LandscapeError
from landscape_cli.jobs.pair_matrices import check_free, save_pairs
from landscape_cli.jobs.pairs import Subject

Pairs = Sequence[tuple[Subject, Subject]]
Result = dict[str, Any] | LandscapeError


def one_by_one(
    output: Output, chosen: Pairs, measure: Callable[[Subject, Subject], dict[str, Any]]
) -> Iterator[Result]:
    """Measure pair after pair, with a bar; one that fails leaves the others be.

    Raises:
        InterruptedRunError: On Ctrl-C.
    """
    with output.bar(len(chosen), "pairs") as show:
        for number, (a, b) in enumerate(chosen):
            try:
                yield measure(a, b)
            except KeyboardInterrupt:
                raise InterruptedRunError(f"stopped at pair {number + 1} of {len(chosen)}") from None
            except LandscapeError as error:
                yield error
            show(number + 1, len(chosen))


def emit_pairs(
    output: Output, chosen: Pairs, results: Iterable[Result], *, matrix: Path | None = None, force: bool = False
) -> None:
    """Emit the record of each pair as it comes, then the matrix.

    Args:
        output: Where records go.
        chosen: The pairs.
        results: A record of each, or why there is none.
        matrix: The file of the matrix, if there is to be one.
        force: Whether that file may be overwritten.

    Raises:
        ConflictError: If the matrix file is there and may not be overwritten.
        InterruptedRunError: On Ctrl-C.
        LandscapeError: If the only pair fails, or (at the end) some of many have.
        UsageError: If a matrix is asked for and not all pairs were to be measured.
    """
    if matrix is not None:
        check_free(matrix, force)
    found: list[dict[str, Any]] = []
    for result in results:
        output.take(result, len(chosen))
        if not isinstance(result, LandscapeError):
            found.append(result)
    if matrix is not None and output.failed:
        output.note(f"{matrix} is not written: not every pair has a distance")
    elif matrix is not None:
        save_pairs(matrix, chosen, found)
        output.note(f"written: {matrix}")
    output.finish(len(chosen), "pairs")
