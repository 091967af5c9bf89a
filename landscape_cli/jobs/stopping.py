"""Stopping a job from outside without losing its work."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

IMPATIENT_SECONDS = 1.0


class Stop:
    """Set once Ctrl-C was pressed, or the scheduler or a parent process asked this one to end."""

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0

    def request(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; a second Ctrl-C, a second or more after the first, stops at once.

        One key press can arrive twice, from the terminal and from the parent process: that is one request.
        """
        now = time.monotonic()
        if self.requested and number == signal.SIGINT and now - self._since > IMPATIENT_SECONDS:
            raise KeyboardInterrupt
        self._since = self._since if self.requested else now
        self.requested = True


@contextlib.contextmanager
def watching() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a flag while the block runs (in the main thread; elsewhere nothing is watched)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
