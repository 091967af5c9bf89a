"""What a report is asked for and what it is made of: settings, steps, a plan. Knows no torch."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from landscape_cli.jobs.report_cast import Cast, state_of_source

Part = Literal["weights", "predictions"]
Missing = tuple[str, str]  # what there is no panel of, and what it would take

UNKNOWN = 1000  # images of a data set whose size nobody told
SOURCES = ("--network", "--data")
START = 0.3  # seconds of a command beside its passes: reading what lies on disk, writing what it found


@dataclass(frozen=True)
class Step:
    """One command of a report.

    Args:
        name: What it is called, in files and on the page.
        title: What is measured.
        part: Which of the two figures it belongs to.
        command: Its words, without ``landscape``.
        result: Its file in the report's folder.
        panels: The figures that are drawn of it, each with what it shows; none for results that others are made of.
        captured: Whether the result is what the command prints.
        beside: Files of the report's folder that the command writes beside the result.
        goes_on: Whether the command, stopped and given again, goes on from its unfinished file.
        inputs: What it depends on beside earlier steps.
        after: Steps whose results it reads.
        passes: Forward passes of one image, about.
        overhead: Seconds of it that are no passes, about.
    """

    name: str
    title: str
    part: Part
    command: tuple[str, ...]
    result: Path
    panels: tuple[tuple[str, str], ...] = ()
    captured: bool = True
    beside: tuple[Path, ...] = ()
    goes_on: bool = False
    inputs: Any = None
    after: tuple[str, ...] = ()
    passes: float = 0.0
    overhead: float = START

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it leaves."""
        return (self.result, *self.beside)

    @property
    def line(self) -> str:
        """The command as a person would type it."""
        words = shlex.join(("landscape", *self.command))
        return f"{words} > {shlex.quote(str(self.result))}" if self.captured else words


@dataclass(frozen=True)
class Settings:
    """What a person may choose of a report's measurements.

    Args:
        split: Whose images.
        samples: Images of barriers and distances; None for all.
        kernel_samples: Images of a kernel.
        common: Words that every measuring command gets: device, seed, network, data, …
        precision: Words that those get that can choose their precision.
        without: Steps to leave out.
        images: How many the named data set has; None where the runs say it of theirs.
    """

    split: str = "test"
    samples: int | None = None
    kernel_samples: int = 100
    common: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    images: int | None = None

    def images_of(self, cast: Cast) -> int:
        """How many images a network sees in a measurement."""
        data = (run.document.get("data") or {} for run in cast.networks)
        whole = self.images or max((int(of.get(f"{self.split}_samples") or 0) for of in data), default=0)
        return min(whole or UNKNOWN, self.samples or whole or UNKNOWN)

    def sources(self) -> list[Any]:
        """The files behind the names of network and data that a person gave."""
        after = [word for option, word in zip(self.common, self.common[1:], strict=False) if option in SOURCES]
        return [state_of_source(word) for word in after]


@dataclass(frozen=True)
class Plan:
    """The steps of a report, and what cannot be had.

    Args:
        steps: In the order in which they are made.
        missing: What there is no panel of: its title, and what it would take.
    """

    steps: tuple[Step, ...]
    missing: tuple[Missing, ...]
