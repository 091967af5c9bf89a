"""Run directories: what made them, what they hold, where they came from."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.store.atomic import TEMPORARY_PREFIX, remove_leftovers, write_json
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.times import Time

RUN_NAME = "run.json"
SCHEMA = 1
CHECKPOINTS = "checkpoints"
RESUME = "resume"
PREDICTIONS = "predictions"
POINTS = "points"  # of a curve
ROLLING_NAME = "rolling.safetensors"

RECORD_KEYS = frozenset(
    {
        "kind", "path", "status", "network", "data", "step", "epoch", "train_loss", "train_error", "test_loss",
        "test_error", "parent", "spawn_step", "spawn_epoch", "child", "linearized", "checkpoints", "seconds", "skipped",
    }
)  # fmt: skip

_STEP_FILE = re.compile(r"step-(\d+)\.safetensors")


def step_name(step: int) -> str:
    """The file name of a step's checkpoint or resume state.

    >>> step_name(1560)
    'step-00001560.safetensors'
    """
    return f"step-{step:08d}.safetensors"


def first_step(lineage: Mapping[str, Any] | None) -> int:
    """The step that a run's training begins at: its spawn step, or what that is in batches of another size."""
    return int(lineage.get("first_step", lineage["step"])) if lineage else 0


def is_run(path: Path) -> bool:
    """Whether ``path`` is a run directory."""
    return (path / RUN_NAME).is_file()


@dataclass(frozen=True)
class Run:
    """A run directory and the description in its ``run.json``.

    Args:
        path: The directory.
        document: The description: config, network, data, seeds, lineage, versions, status.
    """

    path: Path
    document: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Read the description of a run.

        Raises:
            CheckpointError: If there is no run at ``path``, its description is damaged, or it was written by a
                newer version of this toolkit.
        """
        file = path / RUN_NAME
        if not path.exists():
            raise CheckpointError(f"{path} does not exist", "check the path; 'landscape info .' lists runs")
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointError(
                f"{path} is no run directory: it has no {RUN_NAME}",
                "make one with 'landscape train' or 'landscape import'",
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{file} is damaged: it is no JSON document") from error
        except OSError as error:
            raise CheckpointError(f"{file}: {error.strerror}") from error
        if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
            raise CheckpointError(f"{file} is damaged: it names no schema")
        if document["schema"] > SCHEMA:
            raise CheckpointError(
                f"{path} was written by a newer landscape (schema {document['schema']}; this one reads up to {SCHEMA})",
                "upgrade with 'pip install --upgrade landscape-cli'",
            )
        return cls(path, document)

    @classmethod
    def write(cls, path: Path, document: dict[str, Any]) -> "Run":
        """Write the description of a run, new or changed."""
        document = {"schema": SCHEMA, **document}
        write_json(path / RUN_NAME, document)
        return cls(path, document)

    def update(self, **changes: Any) -> "Run":
        """The same run with some entries of its description changed on disk."""
        return self.write(self.path, {**self.document, **changes})

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.resolve().name

    @property
    def status(self) -> str:
        """``running``, ``interrupted``, ``diverged``, ``finished`` or ``imported``."""
        return str(self.document.get("status", "unknown"))

    @property
    def lineage(self) -> dict[str, Any] | None:
        """What the run was spawned from; None for a run of its own."""
        lineage = self.document.get("lineage")
        return lineage if isinstance(lineage, dict) else None

    @property
    def parent(self) -> Path | None:
        """Where the run's parent was when it was spawned, from where the run is now."""
        return Path(os.path.normpath(self.path / self.lineage["parent"])) if self.lineage else None

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimiser steps an epoch, where the run knows (an imported one may not)."""
        value = self.document.get("steps_per_epoch")
        return int(value) if value is not None else None

    @property
    def threads(self) -> int | None:
        """The number of CPU threads it was trained with."""
        value = (self.document.get("environment") or {}).get("threads")
        return int(value) if value else None

    def epoch(self, step: int) -> float | None:
        """The epoch at a step."""
        return None if self.steps_per_epoch is None else step / self.steps_per_epoch

    def steps(self, folder: str = CHECKPOINTS) -> list[int]:
        """The steps with a file in ``folder`` (checkpoints or resume states), ascending."""
        found = (_STEP_FILE.fullmatch(file.name) for file in (self.path / folder).glob("step-*.safetensors"))
        return sorted(int(match[1]) for match in found if match)

    def checkpoint(self, step: int) -> Checkpoint:
        """The checkpoint of a step, without a look whether it is there."""
        file = self.path / CHECKPOINTS / step_name(step)
        return Checkpoint(path=file, files=(file,), step=step, epoch=self.epoch(step), run=self.path)

    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, by step."""
        return [self.checkpoint(step) for step in self.steps()]

    def step_of(self, time: Time) -> int:
        """The step that a time means in this run, whether or not there is a checkpoint.

        Raises:
            UsageError: If the run does not know how long its epochs are and ``time`` is in epochs.
            CheckpointError: If the run has no checkpoint at all and ``time`` is ``last``.
        """
        if time.unit == "last":
            steps = self.steps()
            if not steps:
                raise CheckpointError(
                    f"{self.path} holds no checkpoint yet", "continue it with the command that began it"
                )
            return steps[-1]
        if time.unit == "ep" and self.steps_per_epoch is None:
            raise UsageError(
                f"{self.path} does not know how many steps an epoch has",
                "name the checkpoint by its step, as in step:390",
            )
        return time.step(steps_per_epoch=self.steps_per_epoch or 0, last=0)

    def checkpoint_at(self, time: Time) -> Checkpoint:
        """The checkpoint at a time.

        Raises:
            CheckpointError: If there is none; the message names the nearest ones.
            UsageError: See :meth:`step_of`.
        """
        step = self.step_of(time)
        steps = self.steps()
        if step not in steps:
            near = sorted(sorted(steps, key=lambda s: abs(s - step))[:3])
            names = ", ".join(self._time_name(s) for s in near) or "none at all"
            raise CheckpointError(
                f"{self.path} has no checkpoint at {time} (step {step})",
                f"the nearest are {names}; 'landscape info {self.path}' lists all",
            )
        return self.checkpoint(step)

    def _time_name(self, step: int) -> str:
        epoch = self.epoch(step)
        return f"step:{step}" if epoch is None else f"step:{step} ({epoch:.4g}ep)"

    def resume_file(self, step: int) -> Path:
        """The file of a step's optimiser state."""
        return self.path / RESUME / step_name(step)

    @property
    def rolling_file(self) -> Path:
        """The state of an interrupted run between two of its checkpoints."""
        return self.path / RESUME / ROLLING_NAME

    def record(self, **extra: Any) -> dict[str, Any]:
        """The run as a record for the pipe; all its keys are in :data:`RECORD_KEYS`."""
        config, data = (self.document.get(key) or {} for key in ("config", "data"))
        result, lineage = self.document.get("result") or {}, self.lineage or {}
        return {
            "kind": "run",
            "path": str(self.path),
            "status": self.status,
            "network": (config.get("network") or {}).get("name"),
            "data": data.get("name"),
            "step": result.get("step"),
            "epoch": result.get("epoch"),
            **{key: result.get(key) for key in ("train_loss", "train_error", "test_loss", "test_error")},
            "parent": None if self.parent is None else str(self.parent),
            "spawn_step": lineage.get("step"),
            "spawn_epoch": lineage.get("epoch"),
            "child": lineage.get("child"),
            "linearized": (lineage.get("linearized") or {}).get("order"),
            "checkpoints": len(self.steps()),
            "seconds": self.document.get("seconds"),
            **extra,
        }

    def tidy(self) -> None:
        """Delete temporary files of a killed writer."""
        for folder in (CHECKPOINTS, RESUME, PREDICTIONS, POINTS):
            remove_leftovers(self.path / folder)
        remove_leftovers(self.path)


def clear(path: Path) -> None:
    """Delete what a run directory holds of ours, and nothing else, before it is made anew.

    The description goes last, so that a process killed in between leaves a run that can be cleared again.

    Raises:
        ConflictError: If ``path`` holds other things and is no run directory: nothing is deleted then.
    """
    if not path.exists():
        return
    refuse_other_things(path)
    for folder in _folders(path):
        for file in folder.glob("*"):
            if file.is_file():
                file.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    remove_leftovers(path)
    for name in ("metrics.jsonl", RUN_NAME):
        (path / name).unlink(missing_ok=True)


def refuse_other_things(path: Path) -> None:
    """Make sure that a directory may become a run: it is one, is empty, or is not there.

    Raises:
        ConflictError: If it holds other things.
    """
    if not path.is_dir() or is_run(path):
        return
    ours = {".lock", *(folder.name for folder in _folders(path) if folder.is_dir() and not any(folder.iterdir()))}
    # A process that was killed as it began may have left a temporary file, and nothing else.
    if any(child.name not in ours and not child.name.startswith(TEMPORARY_PREFIX) for child in path.iterdir()):
        raise ConflictError(f"{path} exists and is no run directory", "choose another --out; nothing was deleted")


def _folders(path: Path) -> list[Path]:
    return [path / name for name in (CHECKPOINTS, RESUME, PREDICTIONS, POINTS)]


def first_difference(recorded: Any, asked: Any, prefix: str = "") -> tuple[str, Any, Any] | None:
    """The first entry in which two configurations differ: its dotted name, and both values.

    >>> first_difference({"a": {"lr": 0.1}}, {"a": {"lr": 0.2}})
    ('a.lr', 0.1, 0.2)
    >>> first_difference({"a": 1}, {"a": 1}) is None
    True
    """
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in sorted(recorded.keys() | asked.keys()):
            name = f"{prefix}.{key}" if prefix else str(key)
            if found := first_difference(recorded.get(key), asked.get(key), name):
                return found
        return None
    return None if recorded == asked else (prefix, recorded, asked)
