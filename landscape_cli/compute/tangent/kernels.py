"""Tangent kernels of a network's logits (Fort et al. 2020, section 2), layer by layer."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_cli.compute.tangent.choices import MEMORY, KernelForm, KernelMethod, KernelPrecision
from landscape_cli.compute.tangent.collecting import Collector
from landscape_cli.compute.tangent.planning import Sweep, Unit, sweeps, units_of
from landscape_cli.compute.tangent.products import Gram, Workspace, product_dtype
from landscape_cli.compute.tangent.recording import untouched
from landscape_cli.compute.tangent.survey import Survey, samples_named, survey
from landscape_cli.errors import NetworkError


@dataclass(frozen=True)
class Kernel:
    """A tangent kernel on some samples.

    Args:
        form: Which; the three forms are different quantities and never comparable.
        values: ``full``: ``(n·C, n·C)``, row ``i·C + k`` for class k of sample i; ``trace`` and ``pseudo``:
            ``(n, n)``. float32, or float64 where that was asked for.
        layers: The part of each layer's parameters, by its name, if asked for; they add up to ``values``.
    """

    form: KernelForm
    values: Float[Tensor, "row row"]
    layers: dict[str, Float[Tensor, "row row"]] = field(default_factory=dict)


def tangent_kernel(
    network: nn.Module,
    inputs: Float[Tensor, "sample ..."],
    *,
    form: KernelForm = "full",
    by_layer: bool = False,
    precision: KernelPrecision = "float32",
    memory: int = MEMORY,
    method: KernelMethod = "auto",
) -> Kernel:
    """The tangent kernel ``K = J Jᵀ`` of a network's logits over its trainable parameters θ.

    * ``full``: ``K[iC+k, jC+l] = ⟨∇f_k(x_i), ∇f_l(x_j)⟩``;
    * ``trace``: ``Θ[i, j] = (1/C) Σ_k ⟨∇f_k(x_i), ∇f_k(x_j)⟩``;
    * ``pseudo``: ``⟨∇Σ_k f_k(x_i), ∇Σ_k f_k(x_j)⟩ / C``.

    The network runs in evaluation mode: batch norm uses its running statistics, which are constants here (they belong
    to the checkpoint, not to θ), and so are parameters with ``requires_grad=False``. It is left as it was: modes,
    buffers, gradients, hooks, flags. A user's own hooks run as they always do.

    Cost, for P parameters: forward and C backward passes over the samples, ``(n·C)² · P`` operations for ``full`` (the
    upper half only), ``n² · C · P`` for ``trace``, ``n² · P`` for ``pseudo``; linear layers on vectors of D inputs and
    O outputs cost ``n² D + (n·C)² O`` instead of ``(n·C)² D O``. Where ``memory`` does not hold what the layers need,
    samples are swept over more than once.

    Args:
        network: Gives logits ``(sample, class)``, each sample's from its own input alone; float32 or float64.
        inputs: As the network takes them, normalised.
        form: Which kernel.
        by_layer: Keep each layer's part too; costs a kernel's memory for each.
        precision: Of the products and the result: ``float32``, ``float64``, or ``bf16`` (factors rounded to bfloat16,
            products summed in float32). The network itself runs in its own precision.
        memory: Bytes of work space, beyond the network, its inputs and the result; a single layer's single row may
            need more.
        method: ``general`` takes no fast path: slow, for comparison.

    Raises:
        NetworkError: If the network has no such kernel (outputs that are no differentiable ``(sample, class)``, that
            depend on other samples, no trainable parameters, half precision), or the kernel is not finite: the
            samples are named.
    """
    if not len(inputs):
        raise NetworkError("a tangent kernel needs at least one sample", "give --samples a positive number")
    with untouched(network):
        own = inputs.clone() if inputs.is_inference() else inputs.detach()
        found = survey(network, own, method)
        return _measure(network, own, found, form, by_layer, precision, memory)


def _measure(
    network: nn.Module,
    inputs: Tensor,
    found: Survey,
    form: KernelForm,
    by_layer: bool,
    precision: KernelPrecision,
    memory: int,
) -> Kernel:
    samples, classes = len(inputs), found.classes
    exact = next(network.parameters()).dtype
    directions = torch.eye(classes, dtype=exact, device=inputs.device)
    if form == "pseudo":
        directions = directions.sum(0, keepdim=True)
    parts = classes if form == "full" else 1  # rows a sample has in the kernel
    work = Workspace(inputs.device)
    item = product_dtype(precision).itemsize
    schedule = _schedule(network, found, samples, len(directions), parts, memory // item, half=precision == "bf16")
    rows = samples * parts
    names = found.order if by_layer else ("",)
    grams = {name: Gram(rows, precision, work) for name in names}
    for sweep in schedule:
        collector = Collector(network, found, sweep, directions[sweep.first : sweep.last], samples, precision, work)
        collector.run(inputs, memory // 4)
        for number, unit in enumerate(sweep.units):
            collector.add(number, grams[unit.name if by_layer else ""], parts)
        collector.finish(grams, parts, by_layer=by_layer)
    scale = 1.0 if form == "full" else 1 / classes
    finished = {name: gram.finish(scale) for name, gram in grams.items()}
    values = torch.stack(list(finished.values())).sum(0) if by_layer else finished[""]
    _check_finite(values, parts)
    return Kernel(form, values, finished if by_layer else {})


def _schedule(
    network: nn.Module, found: Survey, samples: int, directions: int, parts: int, room: int, *, half: bool
) -> list[Sweep]:
    """Units of all layers, packed into sweeps: half of the room for what is kept, a quarter for a panel."""
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    units: list[Unit] = []
    for name, parameters in found.general.items():
        units += [Unit(name, "general", sizes[one], parameters=(one,)) for one in parameters]
    for layer in found.layers:
        units += units_of(layer, samples=samples, directions=directions, parts=parts, room=room, half=half)
    separable = parts == 1 and directions > 1
    return sweeps(units, samples=samples, directions=directions, room=room // 2, separable=separable)


def _check_finite(values: Tensor, parts: int) -> None:
    """Name the samples whose gradients are no numbers."""
    good = values.diagonal().isfinite()
    if bool(good.all()) and bool(values.isfinite().all()):
        return
    bad = sorted({int(row) // parts for row in (~good).nonzero().flatten().tolist()})
    named = f": {samples_named(bad)}" if bad else ""
    raise NetworkError(
        f"the tangent kernel is not finite{named}",
        "the network's outputs or gradients overflow there; look at the checkpoint, or use --precision float64",
    )
