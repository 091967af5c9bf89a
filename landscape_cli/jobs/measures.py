"""The words for the distances between two checkpoints. Knows no torch, so that the command line can offer them."""

from typing import Literal, get_args

from landscape_cli.errors import UsageError
from landscape_cli.plugins import did_you_mean

Measure = Literal["barrier", "weight", "relu", "function", "kernel", "gradient"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
USUAL = "barrier,weight,relu,function,kernel"


def parse_measures(text: str) -> tuple[Measure, ...]:
    """Measures as a person writes them, each once.

    >>> parse_measures("relu,weight")
    ('relu', 'weight')

    Raises:
        UsageError: If one is unknown, or there is none.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    chosen = [measure for name in names for measure in MEASURES if measure == name]
    if len(chosen) != len(names) or not names:
        wrong = next((name for name in names if name not in MEASURES), text)
        raise UsageError(f"--measures: there is no measure '{wrong}'", did_you_mean(wrong, MEASURES))
    return tuple(chosen)
