"""Data and networks, loaded from what a run recorded or a person asked for."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from landscape_cli import plugins
from landscape_cli.compute.device import Placement
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import stream_seed
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.datasets import DataSet, DataSpec, Normalization, Split, load
from landscape_cli.datasets.transforms import balanced_index
from landscape_cli.errors import NetworkError, UsageError
from landscape_cli.jobs.curve_specs import CurveSpec, curved
from landscape_cli.jobs.linearizations import LinearizedSpec, linearize, linearized_spec
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.runs import Run


@dataclass(frozen=True)
class Shape:
    """What a network must know of its data to be built.

    Args:
        input_shape: Of one input.
        classes: How many there are.
    """

    input_shape: tuple[int, ...]
    classes: int


def load_data(spec: DataSpec) -> DataSet:
    """Load a data set; the last two asked for are kept in memory."""
    return _load_data(json.dumps(spec.to_json(), sort_keys=True))


@functools.lru_cache(maxsize=2)
def _load_data(spec: str) -> DataSet:
    return load(DataSpec.from_json(json.loads(spec)))


def build_network(spec: NetworkSpec, data: DataSet | Shape, *, seed: int = 0) -> nn.Module:
    """Build a network for a data set, its weights drawn from the stream ``init`` of ``seed`` and nothing else.

    For a linearised run it is the network's Taylor polynomial, at its base; for a curve's, the straight line to begin
    with.
    """
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(stream_seed("init", seed))
        network = build(spec, data.input_shape, data.classes)
    finally:
        torch.set_rng_state(state)
    if isinstance(spec, CurveSpec):
        return curved(network, spec)
    return linearize(network, spec) if isinstance(spec, LinearizedSpec) else network


def load_state(network: nn.Module, state: Mapping[str, Tensor], who: str) -> None:
    """Put a checkpoint's tensors into a network.

    Raises:
        CheckpointError: If a tensor is missing, extra or misshapen.
    """
    check_state(network.state_dict(), state, who)
    network.load_state_dict(dict(state))


def check_network(network: nn.Module, samples: Samples, data: DataSet, name: str) -> None:
    """Try a network, in evaluation mode, before it is trained: people bring their own.

    Raises:
        NetworkError: If it fails on the data's inputs, changes them in place, gives no logits, or fewer than there are
            classes.
    """
    mode = network.training
    network.eval()
    try:
        outputs = check_outputs(network, samples, who=f"network '{name}'", labels=False)
    finally:
        network.train(mode)
    if outputs < data.classes:
        raise NetworkError(
            f"network '{name}' gives {outputs} classes, but {data.name} has {data.classes}",
            "its builder is told the number: build(input_shape, classes)",
        )


def samples_of(split: Split, normalization: Normalization | None, where: Placement) -> Samples:
    """A split on the device."""
    mean = None if normalization is None else normalization.mean
    std = None if normalization is None else normalization.std
    return Samples(split.inputs, split.labels, where, mean=mean, std=std)


def subset(split: Split, size: int | None, classes: int, seed: int) -> Split:
    """``size`` samples of a split with its class proportions, in their order; all of them for None."""
    if size is None or size == len(split):
        return split
    return split.take(balanced_index(split.labels, size, classes, seed))


def recorded_data(run: Run) -> DataSpec:
    """The data a run was trained on.

    Raises:
        UsageError: If the run does not say, or names code (which is only run when a person names it).
    """
    document = run.document.get("config", {}).get("data")
    if document is None:
        raise UsageError(f"{run.path} does not say what data it was trained on", "give it: --data NAME")
    spec = DataSpec.from_json(document)
    plugins.refuse_stored_code(spec.source, owner=run.path, option="--data")
    return spec


def chosen_data(run: Run, asked: DataSpec | None) -> DataSpec:
    """The data a person names, else the run's own.

    Where the person names the very source that the run recorded (because it is code, or to be explicit), subset, labels
    and label noise are the run's too, unless given.

    Raises:
        UsageError: See :func:`recorded_data`.
    """
    if asked is None:
        return recorded_data(run)
    document = (run.document.get("config") or {}).get("data")
    if document is not None and asked.plain:
        recorded = DataSpec.from_json(document)
        if recorded.source == asked.absolute().source:
            return replace(recorded, options=asked.options or recorded.options)
    return asked


def recorded_network(run: Run) -> NetworkSpec:
    """The network a run trained.

    Raises:
        UsageError: If the run does not say, or names code (which is only run when a person names it).
    """
    document = run.document.get("config", {}).get("network")
    if document is None:
        raise UsageError(f"{run.path} does not say what network it holds", "give it: --network NAME")
    spec = NetworkSpec.from_json(document)
    plugins.refuse_stored_code(spec.name, owner=run.path, option="--network")
    return spec


def chosen_network(run: Run, asked: NetworkSpec | None) -> NetworkSpec:
    """The network a person names, else the run's own.

    Where the person names the very network that the run recorded (because it is code, or to be explicit), its options
    are the run's too, unless given. Of a linearised run it is the polynomial that was trained.

    Raises:
        UsageError: See :func:`recorded_network`.
    """
    if asked is None:
        return linearized_spec(run, recorded_network(run))
    document = (run.document.get("config") or {}).get("network")
    if document is not None and document["name"] == asked.name:
        asked = replace(asked, options={**document["options"], **asked.options})
    return linearized_spec(run, asked)


def normalization_for(run: Run, data: DataSet) -> Normalization | None:
    """How the inputs of a run's network are normalised: as in its training, if it says, on whatever data."""
    recorded = run.document.get("data") or {}
    if "normalization" not in recorded:
        return data.normalization
    if recorded["normalization"] is None:
        return None
    kept = Normalization.from_json(recorded["normalization"])
    return kept if len(kept.mean) == data.input_shape[0] else data.normalization
