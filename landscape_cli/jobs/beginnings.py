"""How a run begins: with weights drawn from its seed, as the network has them or at a corner, or with another run's.

Whatever trains or replays from step 0 asks here, so that a replay begins as the run did.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from landscape_cli.compute.training.corners import move_to_corner
from landscape_cli.compute.training.protocol import parse_init
from landscape_cli.datasets import DataSet
from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.jobs.states import Tensors
from landscape_cli.jobs.subjects import build_network, load_state
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import tensors_hash
from landscape_cli.store.locate import locate, split_time
from landscape_cli.store.runs import Run, is_run


def initial_network(spec: NetworkSpec, data: DataSet, *, seed: int, init: str = "default") -> nn.Module:
    """A network on the CPU with the weights that a run of this seed begins with.

    Raises:
        UsageError: If there are no such initial weights.
        NetworkError: If corners are asked for and it has no linear layer.
    """
    network = build_network(spec, data, seed=seed)
    corner, own = parse_init(init)
    if corner:
        move_to_corner(network, seed if own is None else own, add=own is not None)
    return network


def beginning_entries(init: str, init_from: str | None, out: Path) -> dict[str, Any]:
    """What the configuration of a run has of its beginning: nothing for the default, as in runs older than the choice.

    Of another run's weights it has the content hash, and the path from ``out``, so that a folder of runs can be moved.
    Where those weights are gone, but the run in ``out`` began with them, its own entry is taken: it may have states to
    continue from.

    Raises:
        UsageError: If both are asked for, or the weights are the run's own.
        CheckpointError: If there are no such weights.
    """
    if init_from is None:
        return {} if init == "default" else {"init": init}
    if init != "default":
        raise UsageError("--init draws weights, --init-from takes them from elsewhere", "give one of them")
    path, time = split_time(init_from)
    if path.resolve() == out.resolve() or out.resolve() in path.resolve().parents:
        raise UsageError(f"{out} cannot begin with weights of its own", "name another run, or choose another --out")
    entry = {"path": os.path.relpath(path, out), "at": None if time is None else str(time)}
    try:
        return {"init_from": {**entry, "hash": locate(init_from).hash()}}
    except CheckpointError:
        recorded = recorded_beginning(Run.open(out)) if is_run(out) else {}
        known = recorded.get("init_from") or {}
        if {name: known.get(name) for name in entry} == entry:
            return recorded
        raise


def recorded_beginning(run: Run) -> dict[str, Any]:
    """What a run recorded of its beginning: ``init`` or ``init_from``, or nothing."""
    config = run.document.get("config") or {}
    return {name: config[name] for name in ("init", "init_from") if config.get(name) is not None}


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the paths in it: hashes and fingerprints say what lies there, wherever that is."""
    bare = {**config, "data": {k: v for k, v in (config.get("data") or {}).items() if k != "source"}}
    if config.get("init_from") is not None:
        bare["init_from"] = {"hash": config["init_from"]["hash"]}
    return bare


def put_other_weights(
    network: nn.Module, beginning: Mapping[str, Any], out: Path, init_from: str | None = None
) -> None:
    """Give a network the weights and buffers that a run begins with, if those are another run's.

    Args:
        network: The network, its weights of no meaning.
        beginning: What the run recorded; see :func:`beginning_entries`.
        out: The run.
        init_from: Where a person says that they are now; None for where they were.

    Raises:
        CheckpointError: If they are gone, or do not fit the network (the tensor is named).
        ConflictError: If others lie there now.
    """
    entry = beginning.get("init_from")
    if entry is None:
        return
    place = os.path.normpath(out / entry["path"]) + (f"@{entry['at']}" if entry["at"] else "")
    text = init_from or place
    try:
        weights: Tensors = locate(text).tensors()
    except CheckpointError as error:
        raise CheckpointError(f"{out} begins with the weights of {text}: {error.message}", error.hint) from error
    if tensors_hash(weights) != entry["hash"]:
        raise ConflictError(
            f"{text} holds other weights than those that {out} begins with", "choose another --out, or --force"
        )
    load_state(network, weights, text)
