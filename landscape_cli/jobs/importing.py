"""Other people's checkpoints, made into a run directory."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape_cli.compute.device import placement
from landscape_cli.compute.named_tensors import unwrapped
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.jobs.environment import environment
from landscape_cli.jobs.subjects import build_network, load_data
from landscape_cli.jobs.training import describe_data
from landscape_cli.networks.registry import NetworkSpec, resolve
from landscape_cli.store.checkpoints import first_non_finite, tensors_hash, write_tensors
from landscape_cli.store.locate import PICKLES, checkpoints_of, last_number
from landscape_cli.store.locks import exclusive
from landscape_cli.store.runs import CHECKPOINTS, Run, clear, is_run, step_name

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params")


@dataclass(frozen=True)
class ImportPlan:
    """Checkpoints to import.

    Args:
        sources: Files and folders.
        out: The run directory to make.
        network: The network they belong to; None leaves it open.
        data: The data it was trained on; None leaves it open.
        steps: A step for each source; None takes the last number in each name.
        steps_per_epoch: To let times be given in epochs.
        key: The entry of a pickle that holds the weights; None looks for the usual ones.
        prefix: To strip from every tensor name, beside the usual ones.
        command: The command line, for the record.
        force: Discard a run that is in the way.
    """

    sources: Sequence[Path]
    out: Path
    network: NetworkSpec | None = None
    data: DataSpec | None = None
    steps: Sequence[int] | None = None
    steps_per_epoch: int | None = None
    key: str | None = None
    prefix: str = ""
    command: str = ""
    force: bool = False


def run_import(plan: ImportPlan) -> dict[str, Any]:
    """Read the sources, check them against the network, and write a run; all are checked before one is written.

    Returns:
        The run's record.

    Raises:
        CheckpointError: If a source is missing, damaged, would need code to be run, or does not fit the network.
        ConflictError: If the directory holds another run.
        UsageError: If two sources have the same step.
    """
    found = [item for source in plan.sources for item in _read(source, plan)]
    steps = _steps(found, plan)
    data = load_data(plan.data) if plan.data else None
    network = build_network(resolve(plan.network), data) if plan.network and data else None
    if plan.network and not data:
        raise UsageError("--network needs --data: input shape and classes follow from the data")
    states = {}
    for (path, tensors), step in zip(found, steps, strict=True):
        if (bad := first_non_finite(tensors)) is not None:
            raise CheckpointError(f"{path}: tensor '{bad}' holds NaN or infinite values")
        if network is not None:
            check_state(network.state_dict(), tensors, str(path))
        states[step] = tensors
    document = {
        "kind": "run",
        "status": "imported",
        "command": plan.command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "imported_from": [str(source) for source in plan.sources],
        "config": {
            "network": resolve(plan.network).to_json() if plan.network else None,
            "data": plan.data.absolute().to_json() if plan.data else None,
            "hashes": {str(step): tensors_hash(states[step]) for step in sorted(states)},
        },
        "network": {"parameters": _parameters(network, states[max(states)])},
        "data": describe_data(data) if data else None,
        "steps_per_epoch": plan.steps_per_epoch,
        "lineage": None,
        "environment": environment(placement("cpu")),
        "result": {
            "step": max(states),
            "epoch": max(states) / plan.steps_per_epoch if plan.steps_per_epoch else None,
        },
    }
    with exclusive(plan.out):
        if plan.force:
            clear(plan.out)
        if is_run(plan.out):
            run = Run.open(plan.out)
            if run.document.get("config") == document["config"]:
                return run.record(skipped=True)
            raise ConflictError(f"{plan.out} holds another run", "choose another --out, or --force to discard that run")
        clear(plan.out)  # refuses a directory of other things
        for step, tensors in sorted(states.items()):
            epoch = step / plan.steps_per_epoch if plan.steps_per_epoch else None
            write_tensors(
                plan.out / CHECKPOINTS / step_name(step),
                tensors,
                {"step": step, "epoch": epoch, "kind": "weights"},
            )
        return Run.write(plan.out, document).record(skipped=False)


def _parameters(network: torch.nn.Module | None, tensors: Mapping[str, Tensor]) -> int:
    if network is not None:
        return sum(p.numel() for p in network.parameters() if p.requires_grad)
    return sum(t.numel() for t in tensors.values() if t.is_floating_point())


def _read(source: Path, plan: ImportPlan) -> list[tuple[Path, dict[str, Tensor]]]:
    """The states of a source, their names cleaned."""
    if source.is_file() and source.suffix in PICKLES:
        return [(source, unwrapped(_unpickle(source, plan.key), plan.prefix))]
    if source.is_dir() and not is_run(source):
        pickles = sorted(f for f in source.iterdir() if f.suffix in PICKLES)
        if pickles and not list(source.glob("**/*.safetensors")):
            return [(f, unwrapped(_unpickle(f, plan.key), plan.prefix)) for f in pickles]
    return [(c.path, unwrapped(c.tensors(finite=False), plan.prefix)) for c in checkpoints_of(source)]


def _unpickle(path: Path, key: str | None) -> dict[str, Tensor]:
    """The state dict in a ``.pt`` file, read without running any code in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        zipfile.BadZipFile,
        ValueError,
        OSError,
        KeyError,
    ) as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"{path} needs code to be run to be read; it was refused and nothing was run",
                "where you trust it, save its state_dict() alone, best as .safetensors",
            ) from error
        raise CheckpointError(f"{path} is damaged: it is no torch checkpoint") from error
    for name in [key] if key else ["", *WRAPPERS]:
        inner = content if name == "" else content.get(name) if isinstance(content, dict) else None
        if isinstance(inner, Mapping) and inner and all(isinstance(v, Tensor) for v in inner.values()):
            return dict(inner)
    entries = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
    raise CheckpointError(
        f"{path} holds no weights{f' under {key!r}' if key else ''}",
        f"it holds {entries}; name the entry: --key NAME",
    )


def _steps(found: Sequence[tuple[Path, Any]], plan: ImportPlan) -> list[int]:
    if plan.steps is not None:
        if len(plan.steps) != len(found):
            raise UsageError(f"{len(found)} checkpoints, but {len(plan.steps)} steps were given")
        steps = list(plan.steps)
    else:
        numbers = [last_number(path) for path, _ in found]
        if len(found) > 1 and any(n is None for n in numbers):
            nameless = next(path for (path, _), n in zip(found, numbers, strict=True) if n is None)
            raise UsageError(f"{nameless.name} has no step in its name", "give the steps: --steps 0,100,200")
        steps = [n or 0 for n in numbers]
    if len(set(steps)) != len(steps):
        raise UsageError(
            f"two checkpoints have step {next(s for s in steps if steps.count(s) > 1)}",
            "give the steps: --steps 0,100,200",
        )
    return steps
