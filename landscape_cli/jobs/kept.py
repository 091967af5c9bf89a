"""The last few things that were made, so that neighbours in a list share them."""

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

HELD = 2 << 30  # bytes of checkpoints kept on the device at a time; two of them in any case


class Kept(Generic[Value]):
    """Holds what was asked for last; of more than ``most``, what has not been asked for the longest goes.

    Args:
        most: How many are held.

    >>> squares = Kept[int](2)
    >>> [squares.get(str(n), lambda n=n: n * n) for n in (2, 3, 2, 4)], list(squares.held)
    ([4, 9, 4, 16], ['2', '4'])
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held: dict[str, Value] = {}

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        """What is held under a key, or else is made now."""
        found = self.held.pop(key) if key in self.held else make()
        self.held[key] = found
        if len(self.held) > self.most:
            del self.held[next(iter(self.held))]
        return found
