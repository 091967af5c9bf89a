"""When to record: schedules of checkpoints as text. Knows no torch."""

import math

from landscape_cli.errors import UsageError
from landscape_cli.times import parse_time, parse_times

EXAMPLES = "write every:1ep, every:step:100, log:40, mao2023, last, or a list as in 0ep,0.5ep,2ep; join with +"
AUTO_EPOCHS = 20


def recorded_steps(text: str, *, steps_per_epoch: int, start: int, end: int, clip: bool = False) -> list[int]:
    """The steps at which a run records, ascending; ``start`` and ``end`` are always among them, except for ``last``.

    Args:
        text: ``auto`` (twice in the first two epochs each, every epoch to the 20th, then evenly in the logarithm),
            ``every:TIME``, ``log:N`` (N steps evenly in the logarithm), ``mao2023``, ``last`` (the end alone), a list
            of times, or several of these joined by ``+``.
        steps_per_epoch: Of the run.
        start: The first step of the run (a child's spawn step).
        end: The last.
        clip: Leave out listed times beyond the end, as a child does that ends before its parent.

    Raises:
        UsageError: If a part is no schedule, or a listed time lies beyond the end.

    >>> recorded_steps("every:1ep", steps_per_epoch=10, start=0, end=25)
    [0, 10, 20, 25]
    >>> recorded_steps("last", steps_per_epoch=10, start=0, end=25)
    [25]
    """
    steps: set[int] = set()
    parts = [part.strip() for part in text.split("+")]
    for part in parts:
        steps |= _part(part, steps_per_epoch, end, clip=clip)
    if parts != ["last"]:
        steps.add(start)
    steps.add(end)
    return sorted(step for step in steps if start <= step <= end)


def _part(text: str, steps_per_epoch: int, end: int, *, clip: bool) -> set[int]:
    kind, colon, argument = text.partition(":")
    if text == "last":
        return {end}
    if text == "auto":
        return _auto(steps_per_epoch, end)
    if text == "mao2023":
        return _mao2023(steps_per_epoch, end)
    if kind == "every" and colon:
        return _every(argument, steps_per_epoch, end)
    if kind == "log" and colon:
        return _logarithmic(argument, end)
    times = parse_times(text)
    steps = {time.step(steps_per_epoch=steps_per_epoch, last=end) for time in times}
    for time in times:
        if not clip and time.step(steps_per_epoch=steps_per_epoch, last=end) > end:
            raise UsageError(
                f"--checkpoints {time} lies beyond the end (step {end}, {end / steps_per_epoch:.4g}ep)",
                EXAMPLES,
            )
    return steps


def _every(argument: str, steps_per_epoch: int, end: int) -> set[int]:
    interval = parse_time(argument)
    if interval.unit == "last" or interval.value <= 0:
        raise UsageError(f"'every:{argument}' has no length", EXAMPLES)
    count = end if interval.unit == "step" else math.ceil(end / (interval.value * steps_per_epoch))
    found = {
        type(interval)(interval.unit, interval.value * k).step(steps_per_epoch=steps_per_epoch, last=end)
        for k in range(count + 1)
    }
    return {step for step in found if step <= end}


def _logarithmic(argument: str, end: int) -> set[int]:
    if not argument.isdigit() or int(argument) < 2:
        raise UsageError(f"'log:{argument}' needs a number of checkpoints of at least 2", EXAMPLES)
    number = int(argument) - 1
    return {0} | {round(math.exp(math.log(max(end, 1)) * k / max(number - 1, 1))) for k in range(number)}


def _auto(steps_per_epoch: int, end: int) -> set[int]:
    halves = {int(k * steps_per_epoch / 2 + 0.5) for k in range(4)}
    epochs = {k * steps_per_epoch for k in range(AUTO_EPOCHS + 1)}
    late: set[int] = set()
    epoch = float(AUTO_EPOCHS)
    while epoch * steps_per_epoch < end:
        epoch *= 1.15
        late.add(round(epoch) * steps_per_epoch)
    return {step for step in halves | epochs | late if step <= end}


def _mao2023(steps_per_epoch: int, end: int) -> set[int]:
    """Step 0; four an epoch in epochs 0–4; each epoch 5–25; every 4th to 65; every 15th after; the last."""
    quarters = {int(k * steps_per_epoch / 4 + 0.5) for k in range(4 * 5)}
    epochs = [*range(5, 26), *range(29, 66, 4), *range(80, end // steps_per_epoch + 1, 15)]
    return {step for step in quarters | {e * steps_per_epoch for e in epochs} if step <= end}
