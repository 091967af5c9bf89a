"""What every call of a notebook looks at first: its words and numbers, and the modes that it runs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any, get_args

import torch

from landscape_cli.compute.device import Placement, math_mode
from landscape_cli.errors import UsageError

# Decorates what copies networks or data: copies made in inference mode can neither be differentiated nor changed.
out_of_inference = torch.inference_mode(False)


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuse a word that is none of those there are; else it would be taken for one of them.

    Args:
        name: Of the argument.
        value: What was given.
        choices: A ``Literal``.

    Raises:
        UsageError: If it is another.
    """
    offered = get_args(choices)
    if value not in offered:
        raise UsageError(f"there is no {name}={value!r}", "it is " + ", ".join(map(repr, offered)))


def check_count(name: str, value: int, least: int = 1) -> int:
    """A whole number that is large enough.

    Raises:
        UsageError: If it is below ``least``, or no whole number.
    """
    try:
        found = index(value)
    except TypeError:
        raise UsageError(f"{name}={value!r} is no whole number") from None
    if found < least:
        raise UsageError(f"{name} is {found}: it is {least} at least")
    return found


@contextmanager
def settled(where: Placement) -> Iterator[None]:
    """The modes of the command line, whatever those of the cell around: what is measured depends on none of them.

    Gradients can be taken inside ``no_grad``; ``autocast`` is off, as ``precision`` says what networks run in; kernels
    are deterministic.
    """
    with torch.enable_grad(), torch.autocast(where.device.type, enabled=False), math_mode(where):
        yield
