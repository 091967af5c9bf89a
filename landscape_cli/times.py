"""Training times as people write them: ``2ep``, ``0.5ep``, ``step:390``, ``last``; of curves points, ``t=0.5``.

A time is a step of the optimiser or an epoch; which step an epoch is depends on the run (``steps_per_epoch``).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from landscape_cli.errors import UsageError

_EPOCH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:ep|epochs?)")
_POINT = re.compile(r"t=(0|1|0?\.\d+|[01]\.\d*)")
_STEP = re.compile(r"(?:step:|step-)?0*(\d+)")

EXAMPLES = "write 2ep, 0.5ep, step:390 or last"


@dataclass(frozen=True)
class Time:
    """A moment of a training run.

    Args:
        unit: ``"ep"``, ``"step"``, ``"last"``, or for a point of a curve ``"t"``.
        value: The number of epochs or steps, or the point (exact; unused for ``"last"``).

    >>> Time("ep", Fraction(1, 2)).step(steps_per_epoch=45, last=900)
    23
    >>> str(Time("ep", Fraction(1, 2)))
    '0.5ep'
    """

    unit: Literal["ep", "step", "last", "t"]
    value: Fraction = Fraction(0)

    def step(self, *, steps_per_epoch: int, last: int) -> int:
        """The optimiser step this time means in a run; halves round up.

        Raises:
            UsageError: If it is a point of a curve.
        """
        if self.unit == "t":
            raise UsageError(f"{self} is a point of a curve, no time of a run", EXAMPLES)
        if self.unit == "last":
            return last
        if self.unit == "step":
            return int(self.value)
        return int(self.value * steps_per_epoch + Fraction(1, 2))

    def __str__(self) -> str:
        if self.unit == "last":
            return "last"
        if self.unit == "step":
            return f"step:{int(self.value)}"
        if self.unit == "t":
            return f"t={float(self.value):.10g}"
        return f"{float(self.value):.10g}ep"


def parse_time(text: str) -> Time:
    """Read one time.

    Raises:
        UsageError: If ``text`` is no time.

    >>> parse_time("step:390")
    Time(unit='step', value=Fraction(390, 1))
    >>> str(parse_time(".5epochs"))
    '0.5ep'
    """
    word = text.strip().lower()
    if word in ("last", "end"):
        return Time("last")
    if match := _EPOCH.fullmatch(word):
        return Time("ep", Fraction(match[1]))
    if (match := _POINT.fullmatch(word)) and Fraction(match[1]) <= 1:
        return Time("t", Fraction(match[1]))
    if word.startswith(("step:", "step-")) and (match := _STEP.fullmatch(word)):
        return Time("step", Fraction(int(match[1])))
    raise UsageError(f"'{text}' is no time in training", EXAMPLES)


def parse_times(text: str) -> list[Time]:
    """Read a comma-separated list of times, without repeats, in the order given.

    Raises:
        UsageError: If the list is empty or an item is no time.

    >>> [str(t) for t in parse_times("0ep, 0.5ep,last")]
    ['0ep', '0.5ep', 'last']
    """
    times = [parse_time(part) for part in text.split(",") if part.strip()]
    if not times:
        raise UsageError("the list of times is empty", EXAMPLES)
    return list(dict.fromkeys(times))
