"""What networks answer: error and loss, predictions, and how differently two answer, in a notebook."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from landscape_cli.api.calls import check_choice, check_count, out_of_inference, settled
from landscape_cli.api.data import Data, samples_on
from landscape_cli.api.networks import Device, Net, architecture, fitting_state, own_module, walker, where_of
from landscape_cli.api.values import class_numbers, is_array, log_probabilities_of
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.evaluation import Evaluation, log_probabilities
from landscape_cli.compute.evaluation import evaluate as evaluate_on
from landscape_cli.compute.function_distance import FunctionDistance
from landscape_cli.compute.function_distance import function_distance as distance_of
from landscape_cli.compute.predictions.references import check_labels
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import DataError, NetworkError, UsageError

Predicted = Float[Tensor, "model sample class"]
Answers = Float[Tensor, "sample class"]
Labels = Int64[Tensor, " sample"]
DTypeName = Literal["float16", "float32", "float64"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What several models say of the same samples.

    Args:
        log_probs: Log-probabilities, ``(model, sample, class)``, natural logarithm.
        labels: The true classes, ``(sample,)``.
    """

    log_probs: Predicted
    labels: Int64[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.log_probs)


@out_of_inference
def evaluate(
    network: nn.Module,
    data: Data,
    *,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> Evaluation:
    """Mean cross-entropy in nats and error of a network on data, in evaluation mode.

    Args:
        network: Gives logits ``(sample, class)``; it is left alone.
        data: Anything that yields ``(inputs, labels)``.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32``, ``float64``, …; None for the network's own.

    Cost: one forward pass over the data; memory of a copy of the network, and of the data.

    Raises:
        DataError: If there are no samples, or a label is no class of the network's.
        NetworkError: If it gives no logits, or NaN, or changes its inputs in place.
        UsageError: If it is no module, or a setting means nothing.
    """
    check_count("batch_size", batch_size)
    where = where_of(own_module(network), device, precision)
    copied, samples = walker(network, where), samples_on(data, where)
    with settled(where):
        check_outputs(copied, samples)
        return evaluate_on(copied, samples, batch=batch_size)


@out_of_inference
def predict(
    networks: Net | Iterable[Net],
    data: Data,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    dtype: DTypeName = "float32",
    device: Device | None = None,
    precision: Precision | None = None,
) -> Predictions:
    """Log-probabilities ``log p_c = z_c − log Σ_k exp z_k`` of networks on the same samples.

    Args:
        networks: One network or several; modules (of any architectures) or state dicts.
        data: Anything that yields ``(inputs, labels)``.
        network: The architecture of state dicts, if no network in the list is a module of it.
        batch_size: Samples a forward pass.
        dtype: What they are rounded to, from float64; the command ``predict`` stores float32.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where each network is.
        precision: Of the networks; None for their own.

    Returns:
        On the CPU, whatever the device.

    Cost: one forward pass of each network over the data; memory of ``model · sample · class`` numbers.

    Raises:
        CheckpointError: If a state does not fit the architecture, or a network holds NaN.
        DataError: If there are no samples, or a label is no class.
        NetworkError: If a network gives no logits or NaN, or networks differ in their classes.
        UsageError: If there is no network, or no module for a state dict.
    """
    check_choice("dtype", dtype, DTypeName)
    check_count("batch_size", batch_size)
    nets = _listed(networks)
    made: list[Tensor] = []
    held: Samples | None = None
    for number, one in enumerate(nets):
        who = f"network {number}" if len(nets) > 1 else "the network"
        module = own_module(one) if isinstance(one, nn.Module) else architecture(network, *nets)
        where = where_of(module, device, precision)
        copied = walker(module, where)
        copied.load_state_dict(fitting_state(copied, one, who))
        # A loader is read once: a second reading might shuffle or augment otherwise.
        held = samples_on(data if held is None else held, where)
        with settled(where):
            classes = check_outputs(copied, held, who=who)
            if made and made[0].shape[1] != classes:
                raise NetworkError(f"{who} gives {classes} classes, the first {made[0].shape[1]}")
            found = torch.cat(list(log_probabilities(copied, held, batch=batch_size)))
        if bool((broken := found.isnan().any(1)).any()):
            raise NetworkError(f"{who} gives NaN for sample {int(broken.nonzero()[0])}")
        made.append(found.to(getattr(torch, dtype)))
    assert held is not None
    return Predictions(torch.stack(made), held.labels.cpu())


def _listed(networks: Net | Iterable[Net]) -> list[Net]:
    """The networks that are meant.

    Raises:
        UsageError: If there are none, or they are named.
    """
    if isinstance(networks, Mapping) and any(isinstance(one, nn.Module | Mapping) for one in networks.values()):
        raise UsageError("networks is a dictionary of networks", "give predict(NETWORKS.values(), DATA)")
    if isinstance(networks, nn.Module | Mapping):
        return [networks]
    try:
        found = list(networks)
    except TypeError:
        raise UsageError(
            f"networks is a {type(networks).__name__}, no network", "load it first: load_network(PATH)"
        ) from None
    if not found:
        raise UsageError("there is no network to predict with")
    return found


def function_distance(
    a: Net | Answers,
    b: Net | Answers,
    data: Data | Labels,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> FunctionDistance:
    """How differently two networks answer: disagreement over that of independent errors (Fort et al. 2020, section 3).

    ``normalized = disagreement / z`` with ``z = e₁(1−e₂) + e₂(1−e₁) + e₁e₂(C−2)/(C−1)``: 0 for the same answers, 1 for
    independent errors, NaN where neither errs. Beside it the Jensen–Shannon divergence in nats, and a correlation.

    Args:
        a: A network (module or state dict), of any architecture; or its log-probabilities ``(sample, class)``.
        b: The other, of the same kind.
        data: Anything that yields ``(inputs, labels)``; with log-probabilities, the labels ``(sample,)``.
        network: The architecture of state dicts.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where each network is.
        precision: None for the networks' own.

    Cost: a forward pass of each.

    Raises:
        DataError: If there are no samples, they do not fit the predictions, or a prediction is NaN.
        LandscapeError: As :func:`predict`.
    """
    known = is_array(a), is_array(b)
    if all(known):
        labels = class_numbers(data)
        one, two = (log_probabilities_of(side, ("sample", "class")).cpu() for side in (a, b))
        if one.shape != two.shape or len(one) != len(labels):
            raise DataError(
                f"predictions of shapes {tuple(one.shape)} and {tuple(two.shape)} with {len(labels)} labels",
                "all are of the same samples: (sample, class) twice, and (sample,)",
            )
        check_labels(labels, one.shape[1])
        return distance_of(one, two, labels)
    if any(known):
        raise UsageError("one side is a tensor and the other a network", "give two of a kind")
    if is_array(data):
        raise DataError("labels alone are given", "networks need inputs too: a loader, or (inputs, labels)")
    nets: list[Net] = [a, b]  # type: ignore[list-item]
    found = predict(
        nets, data, network=network, batch_size=batch_size, dtype="float64", device=device, precision=precision
    )
    return distance_of(found.log_probs[0], found.log_probs[1], found.labels)
