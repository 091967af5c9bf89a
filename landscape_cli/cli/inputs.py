"""From the words of a command to checkpoints, networks and data."""

from collections.abc import Sequence
from pathlib import Path

from landscape_cli import plugins
from landscape_cli.datasets.registry import DataSpec
from landscape_cli.errors import UsageError
from landscape_cli.jobs.pairs import Subject
from landscape_cli.networks.registry import NetworkSpec, check_name
from landscape_cli.store.locate import checkpoints_of, locate, split_time
from landscape_cli.store.records import Item, read_items
from landscape_cli.store.runs import RECORD_KEYS, Run
from landscape_cli.times import parse_times


def network_spec(name: str | None, options: Sequence[str] | None, width: float | None = None) -> NetworkSpec | None:
    """The network that a person names, None if none.

    Raises:
        UsageError: If the name is unknown, an option is no KEY=VALUE, or there are options of no network.
    """
    if name is None:
        _alone("--network-option" if options else "--width" if width is not None else None, "--network")
        return None
    check_name(name)
    parsed: dict[str, object] = dict(plugins.parse_options(options or [], flag="--network-option"))
    if width is not None:
        parsed["width"] = width
    return NetworkSpec(name, parsed)


def data_spec(
    source: str | None,
    options: Sequence[str] | None,
    *,
    train_size: int | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    labels: str = "true",
) -> DataSpec | None:
    """The data that a person names, None if none.

    Raises:
        UsageError: If an option is no KEY=VALUE, there are no such labels, or there are options of no data.
    """
    if source is None:
        _alone("--data-option" if options else None, "--data")
        return None
    parsed = dict(plugins.parse_options(options or [], flag="--data-option"))
    return DataSpec(source, parsed, train_size=train_size, label_noise=label_noise, seed=seed, labels=labels)


def _alone(option: str | None, owner: str) -> None:
    if option is not None:
        raise UsageError(
            f"{option} means nothing without {owner}",
            f"name it too, or leave {option} out: what a run records of itself holds",
        )


def items(arguments: Sequence[str]) -> list[Item]:
    """The inputs of a command: its arguments, and for ``-`` the lines of stdin."""
    return read_items(arguments)


def subjects(arguments: Sequence[str], at: str | None = None) -> list[Subject]:
    """Checkpoints named by arguments or a pipe, each at every time of ``at`` (the last by default; ``all`` of them).

    Raises:
        UsageError: If the pipe is empty or a record is of the wrong kind.
        CheckpointError: If a checkpoint is missing.
    """
    found: list[Subject] = []
    for item in items(arguments):
        extra = {key: value for key, value in item.record.items() if key not in RECORD_KEYS}
        path, own = split_time(item.path)
        if own is None and at == "all":
            found.extend(Subject(checkpoint, str(checkpoint.step), extra) for checkpoint in checkpoints_of(path))
            continue
        times = [None] if own is not None or at is None else parse_times(at)
        for time in times:
            checkpoint = locate(item.path, default=time)
            found.append(Subject(checkpoint, str(time or own or "last"), extra))
    return found


def runs(arguments: Sequence[str]) -> list[Run]:
    """Run directories named by arguments or a pipe.

    Raises:
        UsageError: If the pipe is empty or a record is of the wrong kind.
        CheckpointError: If one is no run.
    """
    return [Run.open(Path(item.path)) for item in items(arguments)]
