"""What is known of a model beside its predictions: the columns of its row in a table, and the key that it is."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from landscape_cli.errors import DataError
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import Run
from landscape_cli.store.tables import Table, read_table
from landscape_cli.times import Time

JOINED_ON = ("name", "path", "run")
RESERVED = ("key", "loss", "error")  # columns that say what was computed
SHOWN = 5  # names in an error before it says how many more there are

MODEL_METRICS = ("train_loss", "train_error", "test_loss", "test_error", "weight_norm")


def model_name(subject: Subject) -> str:
    """What a person calls a model: ``RUN@2ep``, or a checkpoint that belongs to no run as he named it.

    The name can be given wherever a checkpoint is expected.
    """
    checkpoint, run = subject.checkpoint, subject.run
    if run is None or checkpoint.step is None:
        return checkpoint.label
    if run.steps_per_epoch is None:
        return f"{run.path}@{Time('step', Fraction(checkpoint.step))}"
    return f"{run.path}@{Time('ep', Fraction(checkpoint.step, run.steps_per_epoch))}"


def model_key(subject: Subject, network: dict[str, Any], normalization: dict[str, Any] | None) -> str:
    """A hash of what a model is: its tensors, its network, how inputs reach it, and whose checkpoint it is.

    The last is a run's name, configuration and lineage with the step, wherever the run lies: the children of one
    parent hold the same tensors at their first step and are models of their own. A checkpoint outside a run is told
    from others by its place. Cost: a header (ours) or one read of the file (others).

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
    """
    run = subject.run
    owner: Any = str(subject.checkpoint.path.resolve())
    if run is not None:
        config = run.document.get("config") or {}
        data = {k: v for k, v in (config.get("data") or {}).items() if k != "source"}
        lineage = {k: v for k, v in (run.lineage or {}).items() if k != "parent"}
        owner = [run.name, {**config, "data": data}, lineage, subject.checkpoint.step]
    text = json.dumps([subject.checkpoint.hash(), network, normalization, owner], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ModelColumns:
    """Makes the rows of models; the numbers that a run recorded are read once a run."""

    def __init__(self) -> None:
        self._metrics: tuple[Path | None, dict[int, dict[str, Any]]] = (None, {})

    def row(self, subject: Subject, network: dict[str, Any]) -> dict[str, Any]:
        """All that is known of a model and useful to group, colour or filter by.

        Args:
            subject: The checkpoint.
            network: Its network, as JSON.
        """
        checkpoint, run = subject.checkpoint, subject.run
        row: dict[str, Any] = {
            "name": model_name(subject),
            "run": None if run is None else str(run.path),
            "step": checkpoint.step,
            "epoch": checkpoint.epoch,
            "network": network["name"],
            "network_options": network["options"] or None,
        }
        if run is not None:
            row |= run_columns(run) | self._recorded(run, checkpoint.step)
        for key, value in subject.extra.items():
            row.setdefault(key, value)
        return {key: value for key, value in row.items() if value is not None and key not in RESERVED}

    def _recorded(self, run: Run, step: int | None) -> dict[str, Any]:
        """Losses and errors that training recorded at this step."""
        if self._metrics[0] != run.path:
            self._metrics = (run.path, {row["step"]: row for row in read_metrics(run.path)})
        row = self._metrics[1].get(-1 if step is None else step, {})
        return {name: row.get(name) for name in MODEL_METRICS}


def run_columns(run: Run) -> dict[str, Any]:
    """Protocol, data, seeds and lineage of a run as flat columns."""
    config, record = run.document.get("config") or {}, run.record()
    protocol, data, seeds = (config.get(name) or {} for name in ("protocol", "data", "seeds"))
    first = ("optimizer", "lr", "batch_size", "weight_decay", "momentum", "augment", "schedule", "epochs")
    return {
        "data": record["data"],
        **{name: protocol.get(name) for name in first},
        "seed": seeds.get("init"),
        **{f"seed_{name}": value for name, value in seeds.items() if name != "init"},
        **{name: record[name] for name in ("parent", "spawn_step", "spawn_epoch", "child", "linearized")},
        **{name: data.get(name) for name in ("train_size", "label_noise")},
        **({"train_labels": data["labels"]} if "labels" in data else {}),
        **({"init": config["init"]} if "init" in config else {}),
        **{name: value or None for name, value in protocol.items() if name not in first and isinstance(value, list)},
        **{name: value for name, value in protocol.items() if name not in first and not isinstance(value, list)},
    }


@dataclass(frozen=True)
class Called:
    """What may stand for a model in a person's own table.

    Args:
        names: Its name, how it was typed, its files.
        runs: The path and name of its run, which stand for all models of the run.
    """

    names: Sequence[str]
    runs: Sequence[str] = ()


def join_metadata(rows: Sequence[dict[str, Any]], called: Sequence[Called], path: Path) -> list[str]:
    """Add the columns of a person's own table to the rows of models, in place.

    The table (CSV or JSON lines) is joined on its first column of ``name``, ``path`` or ``run``; what it says stands
    over what the runs say. A name or path that is no model's own may be a run's, and then goes to all its models.

    Args:
        rows: One a model.
        called: For each, what may stand in that column.
        path: The table.

    Returns:
        The names of the columns.

    Raises:
        DataError: If the table is damaged, has no such column, a row of it fits no model, or two fit the same.
    """
    table = own_table(path)
    on = _joined_column(table, path)
    own = [name for name in table.columns if name != on]
    models: dict[str, list[int]] = {}
    runs: dict[str, list[int]] = {}
    for number, model in enumerate(called):
        for places, names in ((models, model.names), (runs, model.runs)):
            for alias in dict.fromkeys(map(os.path.normpath, names)):
                places.setdefault(alias, []).append(number)
    taken: dict[int, str] = {}
    unmatched: list[str] = []
    for line in table.rows():
        given = str(line.pop(on, ""))
        name = os.path.normpath(given)
        found = (models.get(name) if on != "run" else None) or runs.get(name, [])
        if not found:
            unmatched.append(given)
        for number in found:
            if number in taken:
                raise DataError(f"{path}: the rows '{taken[number]}' and '{given}' are for the same model")
            taken[number] = given
            rows[number].update(line)
    if unmatched:
        more = f" and {len(unmatched) - SHOWN} more" if len(unmatched) > SHOWN else ""
        first = called[0].runs or called[0].names if on == "run" else called[0].names
        raise DataError(
            f"{path}: no model here has the {on} {', '.join(repr(u) for u in unmatched[:SHOWN])}{more}",
            f"the first model has the {on} '{first[0]}'; take the rows of others out",
        )
    return own


def own_table(path: Path) -> Table:
    """Read a person's own table of models.

    Raises:
        DataError: If it is damaged, or has a column that only a computation can fill.
    """
    table = read_table(path)
    if taken := [name for name in RESERVED if name in table]:
        raise DataError(f"{path}: the column '{taken[0]}' is filled by what is computed", "rename it")
    return table


def _joined_column(table: Table, path: Path) -> str:
    for name in JOINED_ON:
        if name in table:
            return name
    raise DataError(
        f"{path} says of no model which it is",
        "add a column name, path or run; it has " + ", ".join(table.columns),
    )
