"""Networks that are the ends of a path: checked against one another and against the data, and put in their place."""

from dataclasses import dataclass

import torch
from torch import nn

from landscape_cli.api.calls import check_choice, check_count, settled
from landscape_cli.api.data import Data, check_same_function, samples_on
from landscape_cli.api.networks import Device, Net, architecture, fitting_state, own_module, walker, where_of
from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.choices import BatchNormMode, Precision
from landscape_cli.compute.device import Placement
from landscape_cli.compute.evaluation import Evaluation, evaluate
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.samples import Samples
from landscape_cli.errors import UsageError

NAMES = ("the first network", "the second network", "the third network")


@dataclass(frozen=True, eq=False)
class Ends:
    """What a path is measured with.

    Args:
        network: Carries the weights; a copy of the architecture.
        states: The tensors of each end.
        names: What each is called.
        where: The device and precision.
        samples: Where the risk is measured.
        statistics: Where batch norm is recomputed, if it is.
        batch_size: Samples a forward pass.
    """

    network: nn.Module
    states: list[dict[str, torch.Tensor]]
    names: tuple[str, ...]
    where: Placement
    samples: Samples
    statistics: Samples | None
    batch_size: int

    @classmethod
    def of(
        cls,
        network: nn.Module | None,
        ends: tuple[Net, ...],
        data: Data,
        bn: BatchNormMode,
        bn_data: Data | None,
        batch_size: int,
        device: Device | None,
        precision: Precision | None,
    ) -> "Ends":
        """Check everything before anything is measured.

        Raises:
            CheckpointError: If an end does not fit the network, or holds NaN.
            DataError: If there are no samples, or too few for batch norm.
            NetworkError: If the network gives no logits.
            UsageError: If there is no module, two are not of one architecture, or a setting means nothing.
        """
        check_choice("bn", bn, BatchNormMode)
        check_count("batch_size", batch_size)
        module = architecture(network, *ends)
        states, names = fitting_states(ends, module), NAMES[: len(ends)]
        where = where_of(module, device, precision)
        carrier, samples = walker(module, where), samples_on(data, where)
        with settled(where):
            for end, state, who in zip(ends, states, names, strict=True):
                carrier.load_state_dict(state)
                check_outputs(carrier, samples, who=who)
                if isinstance(end, nn.Module) and own_module(end) is not module:
                    check_same_function(carrier, walker(end, where), samples, who)
            statistics = _statistics(carrier, bn, bn_data, where)
        return cls(carrier, states, names, where, samples, statistics, batch_size)

    def own(self) -> tuple[Evaluation, Evaluation] | None:
        """What the first two do under their own batch norm, where a path recomputes it."""
        if self.statistics is None:
            return None
        found = []
        for state in self.states[:2]:
            self.network.load_state_dict(state)
            found.append(evaluate(self.network, self.samples, batch=self.batch_size))
        return found[0], found[1]


def fitting_states(ends: tuple[Net, ...], module: nn.Module) -> list[dict[str, torch.Tensor]]:
    """The tensors of the ends, each under the names of the architecture.

    Raises:
        CheckpointError: As :func:`landscape_cli.api.networks.fitting_state`.
    """
    return [fitting_state(module, one, who) for one, who in zip(ends, NAMES, strict=False)]


def _statistics(carrier: nn.Module, bn: BatchNormMode, bn_data: Data | None, where: Placement) -> Samples | None:
    """The samples to recompute batch norm on; None where it is not."""
    if bn != "recompute" or not batch_norms(carrier):
        return None
    if bn_data is None:
        raise UsageError(
            "the network has batch norm, whose statistics are recomputed from training data",
            "give it: bn_data=TRAIN_LOADER (not augmented); or bn='lerp', bn='keep'",
        )
    return statistics_on(bn_data, carrier, where)


def statistics_on(bn_data: Data, carrier: nn.Module, where: Placement) -> Samples:
    """Samples to recompute batch norm on.

    Raises:
        DataError: If there are none.
        NetworkError: If the network does not take such inputs.
    """
    samples = samples_on(bn_data, where, "bn_data")
    check_outputs(carrier, samples, who="with bn_data the network", labels=False)
    return samples
