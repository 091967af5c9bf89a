"""Runs and checkpoints on disk as a notebook wants them: the run, the state dict, the module, the samples."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from landscape_cli.api.calls import check_choice, out_of_inference
from landscape_cli.api.networks import Device, carrying, fitting_state, placed
from landscape_cli.compute.choices import Precision, SplitName
from landscape_cli.compute.device import placement
from landscape_cli.compute.samples import Samples
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import UsageError
from landscape_cli.jobs.subjects import (
    Shape,
    build_network,
    chosen_data,
    chosen_network,
    load_data,
    normalization_for,
    samples_of,
    subset,
)
from landscape_cli.networks.registry import NetworkSpec, check_name, resolve
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.locate import locate
from landscape_cli.store.runs import Run, is_run

Source = str | PathLike[str] | Run | Checkpoint


def open_run(path: str | PathLike[str]) -> Run:
    """A run directory.

    Returns:
        ``run.document`` (all of ``run.json``), ``run.steps()``, ``run.checkpoints()``, ``run.lineage``,
        ``run.record()``.

    Cost: one small file.

    Raises:
        CheckpointError: If there is no run at ``path``, or its description is damaged.
    """
    return Run.open(Path(path))


def load_checkpoint(checkpoint: Source) -> dict[str, Tensor]:
    """The tensors of a checkpoint, weights and buffers by name, on the CPU.

    Args:
        checkpoint: As on the command line: a run (its last checkpoint), ``RUN@2ep``, ``RUN@step:390``, a
            ``.safetensors`` file or a folder of other tools. A run or checkpoint that is open already will do.

    Cost: one read of the file.

    Raises:
        CheckpointError: If there is none, it is damaged, or a tensor holds NaN (it is named).
        UsageError: If the time is no time.
    """
    return located(checkpoint).tensors()


@out_of_inference
def load_network(
    checkpoint: Source,
    *,
    network: str | nn.Module | None = None,
    network_option: Mapping[str, Any] | None = None,
    data: str | None = None,
    data_option: Mapping[str, Any] | None = None,
    device: Device = "cpu",
    precision: Precision = "float32",
) -> nn.Module:
    """The network of a checkpoint as a module with its weights in place, in evaluation mode.

    What network it is stands in the run. A checkpoint outside a run, or of a network of one's own, needs ``network``: a
    name of the registry, ``file.py:function``, or a module, of which a copy gets the weights. Code that is only named
    inside a run is never executed.

    Args:
        checkpoint: As :func:`load_checkpoint` takes it.
        network: The network, if the run does not say.
        network_option: Options of a named network, as in ``{"width": 0.5}``.
        data: The data, whose shape and classes a named network is built for, if the run does not say.
        data_option: Options of it, as in ``{"size": 64}``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``.
        precision: As on the command line.

    Cost: one read of the file.

    Raises:
        CheckpointError: If there is no such checkpoint, or it does not fit the network; the tensor is named.
        DeviceError: If the device is not there.
        UsageError: If it is not known what network it is.
    """
    check_choice("precision", precision, Precision)
    if network_option and not isinstance(network, str):
        raise UsageError("network_option is for a network by name", "give that too: network='resnet20'")
    found = located(checkpoint)
    made = (
        carrying(network)
        if isinstance(network, nn.Module)
        else _built(found, network, network_option or {}, _data_spec(data, data_option))
    )
    made.load_state_dict(fitting_state(made, found.tensors(), found.label))
    return placed(made, placement(str(device), precision))


@out_of_inference
def load_samples(
    run: Source,
    split: SplitName = "test",
    *,
    samples: int | None = None,
    seed: int = 0,
    data: str | None = None,
    data_option: Mapping[str, Any] | None = None,
    device: Device = "cpu",
    precision: Precision = "float32",
) -> Samples:
    """The data of a run, normalised as its network takes it: iterates over ``(inputs, labels)`` in batches of 100.

    Args:
        run: A run or one of its checkpoints.
        split: ``train`` or ``test`` (``clean`` and ``patch`` of data that has them).
        samples: So many, with the split's class proportions; None for all. The same ``seed`` gives the samples that the
            commands measure on.
        seed: Of that choice.
        data: Other data than the run's own, by name; it is normalised as in the run's training.
        data_option: Options of it.
        device: Where it lies.
        precision: Of the inputs.

    Cost: one read of the data; the last two data sets stay in memory.

    Raises:
        DataError: If the data is not there, has no such split, or not so many samples.
        UsageError: If the run does not say what data it was trained on.
    """
    check_choice("precision", precision, Precision)
    where = placement(str(device), precision)
    owner = _owner(run)
    asked = _data_spec(data, data_option)
    if owner is None and asked is None:
        raise UsageError(f"{run} does not say what data it belongs to", "give it: data='digits'")
    whole = load_data(asked if owner is None and asked is not None else chosen_data(_known(owner), asked))
    normalization = whole.normalization if owner is None else normalization_for(owner, whole)
    return samples_of(subset(whole.split(split), samples, whole.classes, seed), normalization, where)


def located(checkpoint: Source) -> Checkpoint:
    """The checkpoint that is meant; of a run its last one."""
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    return locate(str(checkpoint.path if isinstance(checkpoint, Run) else checkpoint))


def _owner(source: Source) -> Run | None:
    """The run that is meant, or that a checkpoint belongs to."""
    if isinstance(source, Run):
        return source
    if not isinstance(source, Checkpoint) and is_run(Path(source)):
        return Run.open(Path(source))
    return _run_of(located(source))


def _run_of(checkpoint: Checkpoint) -> Run | None:
    return None if checkpoint.run is None else Run.open(checkpoint.run)


def _known(run: Run | None) -> Run:
    assert run is not None
    return run


def _data_spec(data: str | None, options: Mapping[str, Any] | None) -> DataSpec | None:
    if options and data is None:
        raise UsageError("data_option is for data by name", "give that too: data='digits'")
    return None if data is None else DataSpec(data, dict(options or {}))


def _built(checkpoint: Checkpoint, network: str | None, options: Mapping[str, Any], data: DataSpec | None) -> nn.Module:
    run = _run_of(checkpoint)
    asked = None
    if network is not None:
        check_name(network)
        asked = NetworkSpec(network, dict(options))
    if run is None and asked is None:
        raise UsageError(
            f"{checkpoint.label} does not say what network it holds", "give it: network='resnet20', or a module"
        )
    spec = resolve(asked if run is None and asked is not None else chosen_network(_known(run), asked))
    recorded = {} if run is None else run.document.get("network") or {}
    if data is None and recorded.get("input_shape") and recorded.get("classes"):
        return build_network(spec, Shape(tuple(recorded["input_shape"]), int(recorded["classes"])))
    if run is None and data is None:
        raise UsageError(
            f"{checkpoint.label} does not say what inputs '{network}' takes", "give data='cifar10:DIR', or a module"
        )
    return build_network(spec, load_data(data if run is None and data is not None else chosen_data(_known(run), data)))
