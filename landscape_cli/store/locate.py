"""From what a user types to checkpoints: runs, ``RUN@2ep``, files, and the folder layouts of other tools."""

import json
import re
from dataclasses import replace
from pathlib import Path

from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.store.checkpoints import Checkpoint, read_header
from landscape_cli.store.curves import curve_points, is_curve, point_at
from landscape_cli.store.runs import CHECKPOINTS, Run, is_run
from landscape_cli.times import Time, parse_time

PICKLES = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".tar"}
INDEX_SUFFIX = ".safetensors.index.json"
MODEL_NAME = "model.safetensors"

_LAST_NUMBER = re.compile(r"(?:^|[-_.]|step|epoch|iter|ckpt|checkpoint)(\d+)$", re.IGNORECASE)


def split_time(text: str) -> tuple[Path, Time | None]:
    """Split ``RUN@2ep`` into its path and time; a path that exists with an ``@`` in its name is a path.

    Raises:
        UsageError: If what follows the ``@`` is no time.
    """
    path, at, time = text.rpartition("@")
    if not at or Path(text).exists():
        return Path(text), None
    return Path(path), parse_time(time)


def locate(text: str, *, default: Time | None = None) -> Checkpoint:
    """The one checkpoint that ``text`` names.

    A run or a folder of checkpoints without a time means its checkpoint at ``default``, or the last one.

    Raises:
        CheckpointError: If there is none.
        UsageError: If the time is no time, or a time is given for a single file.
    """
    path, time = split_time(text)
    if is_run(path) and is_curve(run := Run.open(path)):
        return point_at(run, time or default)
    found = checkpoints_of(path)
    if len(found) == 1 and not path.is_dir():
        if time is not None:
            raise UsageError(f"{path} is one checkpoint: it has no '{time}'", "name the run instead of the file")
        return found[0]
    time = time or default or Time("last")
    called = str(path) if time.unit == "last" else f"{path}@{time}"
    if is_run(path):
        return replace(Run.open(path).checkpoint_at(time), called=called)
    if time.unit == "last":
        return replace(found[-1], called=called)
    if time.unit == "t":
        raise UsageError(f"{path} is no curve: it has no '{time}'", "curves are made by 'landscape curve'")
    if time.unit == "ep":
        raise UsageError(f"{path} is no run: its epochs are unknown", "name the checkpoint by its step: step:390")
    for checkpoint in found:
        if checkpoint.step == int(time.value):
            return replace(checkpoint, called=called)
    raise CheckpointError(
        f"{path} has no checkpoint at step {int(time.value)}",
        "it has steps " + ", ".join(str(c.step) for c in found if c.step is not None),
    )


def checkpoints_of(path: Path) -> list[Checkpoint]:
    """All checkpoints at a path, in order of their step.

    Understood are run directories; one ``.safetensors`` file; an ``…index.json`` of shards; a folder with
    ``model.safetensors`` or such an index (Hugging Face); a folder of ``checkpoint-N`` folders of that kind; a
    folder of ``.safetensors`` files, whose last number in the name is taken as the step.

    Raises:
        CheckpointError: If there is no checkpoint, the path is missing, or it is a pickle.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist", "check the path; 'landscape info .' lists runs")
    if path.name.endswith(INDEX_SUFFIX):
        return [_sharded(path)]
    if path.suffix == ".safetensors":
        return [_single(path)]
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path} is a pickle, which is not read in place",
            f"turn it into a run first: landscape import {path} --out RUN --network NAME --data DATA",
        )
    raise CheckpointError(f"{path} is no checkpoint", "give a .safetensors file, a folder of them, or a run")


def _in_folder(path: Path) -> list[Checkpoint]:
    if is_run(path):
        run = Run.open(path)
        found = curve_points(run) if is_curve(run) else run.checkpoints()
        if not found:
            raise CheckpointError(f"{path} holds no checkpoint yet", "continue it with the command that began it")
        return found
    if (whole := _model_in(path)) is not None:
        return [whole]
    folders = [_model_in(folder) for folder in sorted(path.iterdir()) if folder.is_dir() and not is_run(folder)]
    found = [c for c in folders if c is not None] or [_single(file) for file in sorted(path.glob("*.safetensors"))]
    if not found:
        runs = sorted(child.name for child in path.iterdir() if is_run(child))
        hint = "make one with 'landscape train' or 'landscape import'"
        if runs:
            hint = f"it is a folder of runs: name them, as in {path}/{runs[0]} or {path}/*"
        raise CheckpointError(f"{path} is no run directory and holds no checkpoint", hint)
    return sorted(found, key=lambda c: (c.step is None, c.step or 0, str(c.path)))


def _model_in(folder: Path) -> Checkpoint | None:
    """The Hugging Face style model of a folder, if it has one."""
    index = folder / (MODEL_NAME.removesuffix(".safetensors") + INDEX_SUFFIX)
    if index.is_file():
        return _sharded(index, name=folder)
    if (folder / MODEL_NAME).is_file():
        return _single(folder / MODEL_NAME, name=folder)
    return None


def _single(file: Path, *, name: Path | None = None) -> Checkpoint:
    """One file; if it lies in a run's checkpoint folder it belongs to that run."""
    home = file.resolve().parent
    run = file.parent.parent if home.name == CHECKPOINTS and is_run(home.parent) else None
    own = read_header(file).landscape
    step = own.get("step", last_number(name or file))
    return Checkpoint(path=name or file, files=(file,), step=step, epoch=own.get("epoch"), run=run)


def _sharded(index: Path, *, name: Path | None = None) -> Checkpoint:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: it names no shards") from error
    files = tuple(index.parent / Path(shard).name for shard in shards)
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{index} names the shard {file.name}, which is missing", "copy the whole folder")
    return Checkpoint(path=name or index, files=files, step=last_number(name or index))


def last_number(path: Path) -> int | None:
    """The number at the end of a name, as training scripts write the step there.

    >>> last_number(Path("checkpoint-500")), last_number(Path("step100.safetensors")), last_number(Path("resnet20.pt"))
    (500, 100, None)
    """
    name = path.stem if path.suffix in {".safetensors", *PICKLES} else path.name
    match = _LAST_NUMBER.search(name)
    return int(match[1]) if match else None
