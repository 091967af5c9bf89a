"""Writing while training goes on: a thread that takes copies and puts them on the disk in their order."""

import queue
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from landscape_cli.compute.training.capture import RECORDING

WAITING = 1 << 28  # bytes of saves that may wait; a larger one waits alone


class Saver:
    """Saves in the background, one after another, in the order they were handed in.

    Nothing is lost quietly: leaving the block waits until all is written, and a save that fails (a full disk) drops
    those after it, which would stand on it, and raises its error at the next save, flush, or the end. A process that is
    killed loses what had not been written, as if it had been killed a moment earlier.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Callable[[], None], int] | None] = queue.Queue()
        self._room = threading.Condition()
        self._held = 0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        # A stop from outside is not answered with another error.
        if error is not self._error and (error is None or isinstance(error, Exception)):
            self._raise()

    def save(self, work: Callable[[], None], size: int = 0) -> None:
        """Hand in work that holds so many bytes; waits only while those that wait already hold too many.

        Raises:
            LandscapeError: What an earlier save failed with.
        """
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
            self._thread.start()
        with self._room:
            self._room.wait_for(lambda: self._held == 0 or self._held + size <= WAITING)
            self._held += size
        self._waiting.put((work, size))

    def flush(self) -> None:
        """Wait until all is written.

        Raises:
            LandscapeError: What a save failed with.
        """
        self._waiting.join()
        self._raise()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            work, size = item
            try:
                if self._error is None:
                    work()
            except BaseException as error:  # handed over to the thread that trains
                self._error = error
            finally:
                with RECORDING:
                    del item, work  # the copies in it
                with self._room:
                    self._held -= size
                    self._room.notify()
                self._waiting.task_done()
        self._waiting.task_done()

    def _raise(self) -> None:
        # It stays: what waits behind it must not be written later either.
        if self._error is not None:
            raise self._error


class Snapshot:
    """Copies of tensors, on the CPU, of what they hold now; training may change them at once.

    They are dense and row-major, as files have them: a thread that changed their layout would call up threads of its
    own, which take the cores from those that train (a third of a small network's speed, measured).

    From a CUDA device the copies are under way when this returns: :meth:`tensors` waits for them, in the thread that
    needs them.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._copies: dict[str, Tensor] = {}
        self._done: torch.cuda.Event | None = None
        for name, tensor in tensors.items():
            if tensor.device.type == "cuda":
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                self._copies[name] = host.copy_(tensor.detach().contiguous(), non_blocking=True)
                self._done = self._done or torch.cuda.Event()  # type: ignore[no-untyped-call]
            else:
                self._copies[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
        if self._done is not None:
            self._done.record()

    @property
    def nbytes(self) -> int:
        """How much memory they hold."""
        return sum(copy.nbytes for copy in self._copies.values())

    def tensors(self) -> dict[str, Tensor]:
        """The copies."""
        if self._done is not None:
            self._done.synchronize()
        return self._copies
