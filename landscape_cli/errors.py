"""The errors this toolkit states on purpose.

Each carries one line that names the thing at fault, and a hint that says what to do next. The command line
prints both without a traceback; whoever imports the package catches :class:`LandscapeError`.
"""

from typing import Self


class LandscapeError(Exception):
    """Something that went wrong in a way a user can act on.

    Args:
        message: One line that names the thing at fault.
        hint: What to do next, as a command to type where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # a notebook shows it under the message, as the command line does

    def __reduce__(self) -> tuple[type["LandscapeError"], tuple[str, str | None]]:
        # Errors cross process borders (one run a core); the hint must come along.
        return type(self), (self.message, self.hint)

    def bare(self) -> Self:
        """The same error without the frames it was raised in: they hold the memory of all that was at work there."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


class UsageError(LandscapeError):
    """The words of the command are off: nothing was read or written."""

    exit_code = 2


class CheckpointError(LandscapeError):
    """A checkpoint or run directory that is missing, damaged, or not what it was taken for."""


class ConflictError(LandscapeError):
    """The output exists already and was made from something else, or somebody else is writing it."""


class DataError(LandscapeError):
    """A data set that is missing, damaged, or does not fit the network."""


class NetworkError(LandscapeError):
    """A network that cannot be built, or does not fit the checkpoint or the data."""


class DivergedError(LandscapeError):
    """Training reached a loss that is no number at ``step``; what was saved before is kept."""

    def __init__(self, message: str, hint: str | None = None, *, step: int = -1) -> None:
        super().__init__(message, hint)
        self.step = step


class DeviceError(LandscapeError):
    """A device or precision that was asked for and is not to be had."""


class StorageError(LandscapeError):
    """Writing failed (a full disk, a missing permission); the old file is whole."""


class InterruptedRunError(LandscapeError):
    """A job was stopped from outside and can be continued by the same command."""

    exit_code = 130


class UnforeseenError(LandscapeError):
    """What nobody stated went wrong in one of many items: a mistake here, or in a user's own code; the others go on."""

    @classmethod
    def of(cls, error: Exception) -> "UnforeseenError":
        """The error as one line; the item made alone shows where it was raised."""
        text = str(error).strip().partition("\n")[0]
        return cls(f"{type(error).__name__}: {text}" if text else type(error).__name__, "the same alone shows where")


class ClosedPipeError(LandscapeError):
    """Whoever read stdout left; nothing is wrong, and nothing is said."""

    exit_code = 141


class BatchError(LandscapeError):
    """A batch finished, but some of its items failed; each was named before."""

    exit_code = 3
