"""The bench on which checkpoints are measured: the network and the samples, loaded once while they serve."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.choices import BatchNormMode, SplitName
from landscape_cli.compute.device import Placement, place
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.datasets import DataSet, DataSpec, Normalization
from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.jobs.kept import Kept
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import (
    build_network,
    chosen_data,
    chosen_network,
    load_data,
    normalization_for,
    samples_of,
    subset,
)
from landscape_cli.networks.registry import NetworkSpec, resolve
from landscape_cli.store.runs import Run

KEPT_NETWORKS = 8
KEPT_SAMPLES = 2  # sets of samples on the device: as many as data sets are kept in memory
STATISTICS = 10_000  # training images that batch norm is recomputed on, unless told otherwise


@dataclass(frozen=True)
class Sampling:
    """Which samples a measurement uses.

    Args:
        splits: Parts of the data set.
        samples: Samples of each part, with its class proportions; None for all.
        bn_samples: Training samples that batch norm is recomputed on; None for 10,000 or all.
        seed: Of the choice of samples.
        batch: Samples a forward pass.
    """

    splits: tuple[SplitName, ...] = ("train", "test")
    samples: int | None = None
    bn_samples: int | None = None
    seed: int = 0
    batch: int = BATCH


@dataclass(frozen=True, eq=False)
class Setup:
    """What checkpoints of one kind are measured with.

    Args:
        spec: Their network.
        data: The data.
        normalization: How inputs reach the network.
        other_data: Whether it was trained on other data.
        network: A network on the device, its weights of no meaning.
        splits: The samples of each part.
        statistics: Training samples to recompute batch norm on; None where the network has none.
    """

    spec: NetworkSpec
    data: DataSet
    normalization: Normalization | None
    other_data: bool
    network: nn.Module
    splits: dict[str, Samples]
    statistics: Samples | None


@dataclass(eq=False)
class _KeptSamples:
    """The samples of one data set, normalised in one way, on the device."""

    data: DataSet
    normalization: Normalization | None
    splits: dict[str, Samples]
    statistics: Samples | None = None


class Bench:
    """Prepares a setup for checkpoints, and keeps networks and samples while the next checkpoints need the same.

    Args:
        sampling: Which samples.
        where: Device and precision.
        network: The network, if a person names it; else what each run recorded.
        data: The data, if a person names it; else what each run was trained on.
        statistics: Whether networks with batch norm are to have training samples to recompute it on.
        note: Told what a user should know (other data than trained on, for one), once each.
    """

    def __init__(
        self,
        sampling: Sampling,
        where: Placement,
        *,
        network: NetworkSpec | None = None,
        data: DataSpec | None = None,
        statistics: bool = True,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.sampling = sampling
        self.where = where
        self._asked_network = network
        self._asked_data = data
        self._statistics = statistics
        self._note = note
        self._told: set[str] = set()
        self._networks = Kept[nn.Module](KEPT_NETWORKS)
        self._samples: list[_KeptSamples] = []

    def setup(self, subjects: Sequence[Subject], *, data: DataSet | None = None) -> Setup:
        """Everything needed to measure these checkpoints, which share one network and one data set.

        Args:
            subjects: The checkpoints.
            data: What to measure on, if the caller knows; it then looks itself whether it is what they were trained
                on.

        Raises:
            CheckpointError: If they are of different networks.
            UsageError: If it is not known what network or data they belong to, or they disagree on the data.
            DataError: If the data cannot be loaded.
        """
        runs = [subject.run for subject in subjects]
        for subject, run in zip(subjects, runs, strict=True):
            if run is None and (self._asked_network is None or (self._asked_data is None and data is None)):
                raise UsageError(
                    f"{subject.checkpoint.path} does not say what network and data it belongs to",
                    "add --network NAME --data DATA, or make it a run with 'landscape import'",
                )
        known = [run for run in runs if run is not None]
        spec = _common_network(known, self._asked_network)
        other: list[Run] = []
        if data is None:
            data = load_data(_common_data(known, self._asked_data))
            other = [run for run in known if trained_on(run) not in (None, data.fingerprint["train"])]
        normalization = normalization_for(known[0], data) if known else data.normalization
        for run in other:
            self.tell(f"{run.path} was trained on other data than the {data.name} it is measured on here")
        network = self._network(spec, data)
        kept = self._kept_samples(data, normalization)
        statistics = self._statistics_of(kept) if self._statistics and batch_norms(network) else None
        return Setup(spec, data, normalization, bool(other), network, kept.splits, statistics)

    def _network(self, spec: NetworkSpec, data: DataSet) -> nn.Module:
        """The network on the device; the last few are kept, so that checkpoints of several may come in any order."""
        key = json.dumps([spec.to_json(), data.input_shape, data.classes], sort_keys=True)
        return self._networks.get(key, lambda: place(build_network(spec, data), self.where))

    def _kept_samples(self, data: DataSet, normalization: Normalization | None) -> "_KeptSamples":
        for kept in self._samples:
            if kept.data is data and kept.normalization == normalization:
                return kept
        sampling, where = self.sampling, self.where
        splits: dict[str, Samples] = {
            name: samples_of(
                subset(data.split(name), sampling.samples, data.classes, sampling.seed), normalization, where
            )
            for name in sampling.splits
        }
        self._samples = [*self._samples[1 - KEPT_SAMPLES :], _KeptSamples(data, normalization, splits)]
        return self._samples[-1]

    def _statistics_of(self, kept: "_KeptSamples") -> Samples:
        if kept.statistics is None:
            sampling, data = self.sampling, kept.data
            count = min(sampling.bn_samples or STATISTICS, len(data.train))
            part = subset(data.train, count, data.classes, sampling.seed)
            kept.statistics = samples_of(part, kept.normalization, self.where)
        return kept.statistics

    def training_samples(self, setup: Setup) -> Samples:
        """The training samples that statistics are taken from, whether or not the network has batch norm."""
        return self._statistics_of(self._kept_samples(setup.data, setup.normalization))

    def tell(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self._told:
            self._told.add(text)
            self._note(text)

    def identity(self, setup: Setup, batch_norm: BatchNormMode | None) -> dict[str, Any]:
        """Everything, beside the weights, that a number measured with this setup depends on."""
        import torch

        normalization = setup.normalization
        recomputed = batch_norm == "recompute" and setup.statistics is not None
        return {
            "torch": str(torch.__version__),
            "network": setup.spec.to_json(),
            "fingerprint": setup.data.fingerprint,
            "normalization": None if normalization is None else normalization.to_json(),
            "splits": list(self.sampling.splits),
            "samples": {name: len(samples) for name, samples in setup.splits.items()},
            "seed": self.sampling.seed,
            "batch": self.sampling.batch,
            "batch_norm": batch_norm,
            "bn_samples": len(setup.statistics) if recomputed and setup.statistics is not None else None,
            "precision": self.where.precision,
            "device": self.where.describe(),
            "threads": torch.get_num_threads(),
        }

    def context(self, setup: Setup) -> dict[str, Any]:
        """What every record says of the setup it was measured with."""
        return {
            "data": setup.data.name,
            "fingerprint": setup.data.fingerprint,
            "other_data": setup.other_data,
            "network": setup.spec.name,
            "precision": self.where.precision,
            "device": self.where.name,
        }


def trained_on(run: Run, split: SplitName = "train") -> str | None:
    """The fingerprint of a part of the data that a run was trained with."""
    fingerprint = ((run.document.get("data") or {}).get("fingerprint") or {}).get(split)
    return str(fingerprint) if fingerprint else None


def _common_network(runs: Sequence[Run], asked: NetworkSpec | None) -> NetworkSpec:
    if asked is not None and not runs:
        return resolve(asked)
    specs = [resolve(chosen_network(run, asked)) for run in runs]
    for run, spec in zip(runs, specs, strict=True):
        if spec != specs[0]:
            raise CheckpointError(
                f"{runs[0].path} and {run.path} are different networks: {specs[0]} and {spec}",
                "only checkpoints of one architecture lie in one weight space",
            )
    return specs[0]


def _common_data(runs: Sequence[Run], asked: DataSpec | None) -> DataSpec:
    if asked is None:
        for run in runs:
            if trained_on(run) != trained_on(runs[0]):
                raise UsageError(
                    f"{runs[0].path} and {run.path} were trained on different data", "say where to measure: --data NAME"
                )
    if runs:
        return chosen_data(runs[0], asked)
    assert asked is not None
    return asked
