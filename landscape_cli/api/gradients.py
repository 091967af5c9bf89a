"""Mean logit gradients in a notebook (Fort and Ganguli 2019; Fort et al. 2020)."""

from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor, nn

from landscape_cli.api.calls import check_count, out_of_inference, settled
from landscape_cli.api.data import Data, samples_on
from landscape_cli.api.networks import Device, Net, architecture, fitting_state, own_module, trainable, walker, where_of
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.tangent.centroids import centroid_cosines
from landscape_cli.compute.tangent.centroids import gradient_centroids as centroids_of
from landscape_cli.errors import UsageError


@dataclass(frozen=True, eq=False)
class GradientDistance:
    """How the mean logit gradients of two networks align.

    Args:
        distance: 1 − alignment.
        alignment: Mean over the classes of the cosines, −1 to 1.
        by_class: ``cos(c_k(w), c_k(w'))``, ``(class,)``; NaN where a centroid is zero.
    """

    distance: float
    alignment: float
    by_class: Float64[Tensor, " class"]


@out_of_inference
def gradient_centroids(
    network: nn.Module,
    data: Data,
    *,
    state: Net | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> Float[Tensor, "class parameter"]:
    """``c_k = (1/n) Σ_i ∇_w f_k(x_i)``: the mean gradient of each logit over the weights that train.

    Source: Fort and Ganguli 2019; Fort et al. 2020, section 2.

    Args:
        network: Gives logits; it is measured in evaluation mode and left alone.
        data: The n samples; anything that yields ``(inputs, labels)``, of which the labels play no part.
        state: Other weights of that network: a state dict, or a module.
        batch_size: Samples a pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32`` or ``float64``; None for the network's own.

    Returns:
        On the device; the weights in the order of ``network.parameters()``, those that train, flattened.

    Cost: a forward and C backward passes over the samples; memory ``C · P`` for P weights.

    Raises:
        CheckpointError: If ``state`` does not fit, or holds NaN.
        DataError: If there are no samples.
        NetworkError: If nothing of it trains, or it gives no logits.
        UsageError: If gradients are not taken in this precision.
    """
    check_count("batch_size", batch_size)
    module = own_module(network)
    where = where_of(module, device, precision)
    if where.precision not in ("float32", "float64"):
        raise UsageError(f"gradients are not taken in {where.precision}", "use precision='float32' or 'float64'")
    copied = walker(module, where)
    copied.load_state_dict(fitting_state(copied, network if state is None else state, "the network"))
    trainable(copied)
    samples = samples_on(data, where)
    with settled(where):
        check_outputs(copied, samples, labels=False)
        # Anew: batches that an evaluation prepared in inference mode are no tensors to differentiate with.
        return centroids_of(copied, samples.to(where), batch=batch_size)


@out_of_inference
def gradient_distance(
    a: Net,
    b: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> GradientDistance:
    """How mean logit gradients align: ``1 − (1/C) Σ_k cos(c_k(w), c_k(w'))`` (Fort et al. 2020).

    Args:
        a: One network: a module, or a state dict.
        b: The other, with the same weights by their names; gradients of two architectures have no common coordinates.
        data: The samples, a few hundred: anything that yields ``(inputs, labels)``.
        network: The architecture, if both are state dicts.
        batch_size: Samples a pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32`` or ``float64``; None for the network's own.

    Cost: twice that of :func:`gradient_centroids`.

    Raises:
        CheckpointError: If the two are not of one architecture, or one holds NaN.
        LandscapeError: As :func:`gradient_centroids`.
    """
    module = architecture(network, a, b)
    held = samples_on(data, where_of(module, device, precision))
    found = []
    for side, who in ((a, "the first network"), (b, "the second network")):
        fitting_state(module, side, who)
        own = own_module(side) if isinstance(side, nn.Module) else module
        found.append(
            gradient_centroids(own, held, state=side, batch_size=batch_size, device=device, precision=precision)
        )
    if found[0].shape != found[1].shape:
        raise UsageError("the two networks do not train the same weights", "set requires_grad alike in both")
    cosines = centroid_cosines(found[0], found[1].to(found[0].device)).cpu()
    alignment = float(cosines.mean())
    return GradientDistance(1 - alignment, alignment, cosines)
