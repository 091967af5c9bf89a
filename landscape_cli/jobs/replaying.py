"""A run replayed to a time at which it kept no state."""

import json
from typing import TYPE_CHECKING, Any

from landscape_cli.compute.device import math_mode, place, set_threads, threads_given_back
from landscape_cli.compute.device import placement as placement_of
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import train
from landscape_cli.datasets import DataSet, DataSpec
from landscape_cli.errors import CheckpointError, ConflictError
from landscape_cli.jobs.beginnings import initial_network, put_other_weights, recorded_beginning
from landscape_cli.jobs.states import origin_state, resume_point
from landscape_cli.jobs.subjects import load_data, load_state, samples_of
from landscape_cli.jobs.training import describe_data
from landscape_cli.jobs.training_loop import AUTOCAST
from landscape_cli.networks.registry import resolve
from landscape_cli.store.checkpoints import tensors_hash, write_tensors
from landscape_cli.store.locks import exclusive
from landscape_cli.store.resume import write_state
from landscape_cli.store.runs import CHECKPOINTS, RESUME, Run, first_step, step_name

if TYPE_CHECKING:
    from landscape_cli.jobs.spawning import SpawnPlan


def _check_data(plan: "SpawnPlan") -> None:
    """Make sure that the data which a parent was trained on are still what they were.

    Other data that a person names are no concern of this: children may be trained on them.

    Raises:
        ConflictError: If the words are the parent's and the samples are not.
    """
    recorded = (plan.parent.document.get("config") or {}).get("data")
    if recorded is not None and _plain(DataSpec.from_json(recorded)) == _plain(plan.data.absolute()):
        part = _changed_part(plan.parent, load_data(plan.data))
        if part is not None:
            raise ConflictError(
                f"{plan.data.source} is not what {plan.parent.path} was trained on: its {part} part has changed",
                "put the data back that it had",
            )


def _plain(value: DataSpec) -> Any:
    return json.loads(json.dumps(value.to_json()))


def _changed_part(parent: Run, data: DataSet) -> str | None:
    """The first part of the data, or ``normalization``, that differs from the parent's."""
    recorded = parent.document.get("data") or {}
    known, now = recorded.get("fingerprint") or {}, data.fingerprint
    changed = [part for part in sorted(known) if known[part] != now.get(part)]
    if "normalization" in recorded and recorded["normalization"] != describe_data(data)["normalization"]:
        changed.append("normalization")
    return changed[0] if changed else None


def materialize(plan: "SpawnPlan", step: int) -> str:
    """Make sure that the parent has its weights and optimiser state at ``step`` on disk, replaying it if not.

    A replay starts from the nearest earlier state (or as the run began: :mod:`landscape_cli.jobs.beginnings`) and is
    the parent's own training: same streams, same number of threads. What it makes is added to the parent.

    Returns:
        The content hash of the weights.

    Raises:
        CheckpointError: If there is nothing to replay from.
        ConflictError: If the data have changed since the parent was trained; if it has to be replayed, and network or
            data are not its own, or the replay does not reproduce a checkpoint of it, as on another device.
    """
    parent = plan.parent
    _check_data(plan)
    there = step in parent.steps()
    if there and (plan.fresh_optimizer or step in parent.steps(RESUME)):
        return parent.checkpoint(step).hash()
    config = parent.document["config"]
    data = load_data(plan.data)
    _check_same(plan, data, step)
    precision = config["precision"]
    where = placement_of(plan.device, "float32" if precision in AUTOCAST else precision)
    seeds = Seeds(**config["seeds"])
    beginning = recorded_beginning(parent)
    init = beginning.get("init", "default")
    network = place(initial_network(plan.network, data, seed=seeds.init, init=init), where)
    point = resume_point(parent, at_most=step)
    start = 0
    optimizer = None
    if point is not None:
        start, weights, optimizer = point
        load_state(network, weights, str(parent.path))
    elif parent.lineage is not None:
        start = first_step(parent.lineage)
        if step < start:
            raise CheckpointError(f"{parent.path} begins at step {start}, after step {step}", "spawn from its parent")
        weights, optimizer = origin_state(parent)
        load_state(network, weights, str(parent.path))
    else:
        put_other_weights(network, beginning, parent.path)
    with threads_given_back():
        set_threads(parent.threads)
        with exclusive(parent.path), math_mode(where, deterministic=config.get("deterministic", True)):
            states = train(
                network,
                samples_of(data.train, data.normalization, where),
                Protocol.from_json(config["protocol"]),
                seeds,
                start=start,
                end=step,
                optimizer=optimizer,
                autocast=AUTOCAST.get(config["precision"]),
                compile=config.get("compile", "auto"),
                prime=point is None and parent.lineage is None,
                wanted=lambda done: done == step,
            )
            *_, state = states
            weights = state.network.state_dict()
            if there and tensors_hash(weights) != parent.checkpoint(step).hash():
                raise ConflictError(
                    f"{parent.path} keeps no optimiser state at step {step}, and replaying it here does not "
                    "reproduce its weights",
                    "spawn on the device it was trained on, or with --fresh-optimizer",
                )
            path = parent.path / CHECKPOINTS / step_name(step)
            epoch = parent.epoch(step)
            digest = write_tensors(path, weights, {"step": step, "epoch": epoch, "kind": "weights", "replayed": True})
            write_state(parent.resume_file(step), step=step, optimizer=state.optimizer)
            return digest


def _check_same(plan: "SpawnPlan", data: DataSet, step: int) -> None:
    """Refuse to replay a run as another one."""
    parent = plan.parent
    hint = "spawn where it has a checkpoint and an optimiser state, or leave out what you named otherwise"
    if (part := _changed_part(parent, data)) is not None:
        other = "another normalization" if part == "normalization" else f"other {part} data"
        raise ConflictError(f"{parent.path} has to be replayed to step {step}, but was trained on {other}", hint)
    network = json.loads(json.dumps(resolve(plan.network).to_json()))
    if network != parent.document["config"]["network"]:
        raise ConflictError(
            f"{parent.path} has to be replayed to step {step}, but its network was built with other options", hint
        )
