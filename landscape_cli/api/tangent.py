"""Tangent space in a notebook: kernels, their distances and velocity, linearised networks (Fort et al. 2020)."""

import math
import os
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_cli.api.calls import check_choice, check_count, out_of_inference, settled
from landscape_cli.api.data import Data, samples_on
from landscape_cli.api.networks import Device, Net, architecture, carrying, fitting_state, own_module, walker, where_of
from landscape_cli.api.values import is_array, tensor_of
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import Placement
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.tangent.choices import MEMORY, KernelForm, KernelPrecision
from landscape_cli.compute.tangent.distances import kernel_distance as distance_of
from landscape_cli.compute.tangent.distances import velocity
from landscape_cli.compute.tangent.kernels import Kernel
from landscape_cli.compute.tangent.kernels import tangent_kernel as kernel_of
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.errors import NetworkError, UsageError

Square = Float[Tensor, "row row"]


@out_of_inference
def tangent_kernel(
    network: nn.Module,
    data: Data,
    *,
    state: Net | None = None,
    kernel: KernelForm = "full",
    by_layer: bool = False,
    memory: int = MEMORY,
    device: Device | None = None,
    precision: Precision | None = None,
) -> Kernel:
    """The tangent kernel ``K = J Jᵀ`` of a network's logits on samples (Fort et al. 2020, section 2).

    * ``full``: ``K[iC+k, jC+l] = ⟨∇f_k(x_i), ∇f_l(x_j)⟩``, ``(n·C, n·C)``;
    * ``trace``: ``(1/C) Σ_k ⟨∇f_k(x_i), ∇f_k(x_j)⟩``, ``(n, n)``;
    * ``pseudo``: ``⟨∇Σ_k f_k(x_i), ∇Σ_k f_k(x_j)⟩ / C``, ``(n, n)``.

    Args:
        network: Gives logits; it is measured in evaluation mode and left alone.
        data: The n samples, a few hundred: anything that yields ``(inputs, labels)``, of which the labels play no part.
        state: Other weights of that network: a state dict, or a module.
        kernel: Which of the three; they are different quantities.
        by_layer: Each layer's part too; they add up to the whole.
        memory: Bytes of work space.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32``, ``float64`` or ``bf16`` (products only); None for the network's own.

    Returns:
        ``values`` on the device, float32 (float64 where that was asked for), and ``layers``.

    Cost: forward and C backward passes over the samples; ``(n·C)² · P`` operations for ``full`` with P parameters,
    ``n² · C · P`` for ``trace``, ``n² · P`` for ``pseudo``, less in fully connected layers.

    Raises:
        CheckpointError: If ``state`` does not fit, or holds NaN.
        DataError: If there are no samples.
        NetworkError: If the network has no such kernel, or the kernel is not finite.
        UsageError: If there is no such kernel, none in this precision, or it is larger than the memory.
    """
    check_choice("kernel", kernel, KernelForm)
    check_count("memory", memory)
    where = where_of(own_module(network), device, precision)
    if where.precision in ("tf32", "fp16"):
        raise UsageError(f"kernels are not computed in {where.precision}", "use float32, float64 or bf16")
    products: KernelPrecision = "float32"
    if where.precision in ("float64", "bf16"):
        products = "float64" if where.precision == "float64" else "bf16"
    # As on the command line: in bf16 the products are rounded, not the network.
    where = where_of(own_module(network), device, "float64" if products == "float64" else "float32")
    copied = walker(network, where)
    copied.load_state_dict(fitting_state(copied, network if state is None else state, "the network"))
    samples = samples_on(data, where)
    with settled(where):
        classes = check_outputs(copied, samples, labels=False)
        rows = len(samples) * (classes if kernel == "full" else 1)
        _check_room(rows * rows * (8 if products == "float64" else 4), f"a {kernel} kernel of {len(samples):,}", where)
        inputs = samples.normalized(samples.inputs)
        return kernel_of(copied, inputs, form=kernel, by_layer=by_layer, precision=products, memory=memory)


def _check_room(size: int, what: str, where: Placement) -> None:
    """Refuse a kernel that the machine cannot hold, which would end the session and not the call.

    Raises:
        UsageError: If it is larger than the device's memory.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if where.device.type == "cuda":
        there = torch.cuda.mem_get_info(where.device)[1]
    if size > there:
        raise UsageError(
            f"{what} samples takes {size / 2**30:,.0f} GiB, and {where.device} has {there / 2**30:,.0f}",
            "a few hundred samples are what a kernel takes: DATA = (inputs[:500], labels[:500])",
        )


@out_of_inference
def kernel_distance(
    a: Net | Kernel | Square,
    b: Net | Kernel | Square,
    data: Data | None = None,
    *,
    network: nn.Module | None = None,
    kernel: KernelForm = "full",
    memory: int = MEMORY,
    device: Device | None = None,
    precision: Precision | None = None,
) -> float:
    """``S(w, w') = 1 − Tr(K K'ᵀ) / (‖K‖_F ‖K'‖_F)`` between two tangent kernels (Fort et al. 2020, section 2).

    0 for kernels that are equal up to their scale, 1 at most for kernels of networks.

    Args:
        a: A network (module or state dict), or its kernel: what :func:`tangent_kernel` gave, or a square tensor.
        b: The other, of the same kind. Modules may be of two architectures that tell the same classes apart.
        data: The samples, for networks; a few hundred.
        network: The architecture, if both are state dicts.
        kernel: ``full``, ``trace`` or ``pseudo``, for networks.
        memory: Bytes of work space.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.

    Cost: two kernels, then two passes over both in float64.

    Raises:
        NetworkError: If the two are of different size or form, or one is zero.
        UsageError: If data is missing, or one is a kernel and the other a network.
        LandscapeError: As :func:`tangent_kernel`.
    """
    check_choice("kernel", kernel, KernelForm)
    known = [isinstance(side, Kernel) or is_array(side) for side in (a, b)]
    if all(known):
        if data is not None:
            raise UsageError("kernels are of samples already", "leave data out")
        forms = {side.form for side in (a, b) if isinstance(side, Kernel)}
        if len(forms) > 1:
            raise UsageError(f"kernels of the forms {' and '.join(sorted(forms))} are different quantities")
        return distance_of(_square(a, "a"), _square(b, "b"))
    if any(known):
        raise UsageError("one side is a kernel and the other a network", "give two of a kind")
    if data is None:
        raise UsageError("kernels are of samples", "give them: kernel_distance(a, b, DATA)")
    nets: list[Net] = [a, b]  # type: ignore[list-item]
    common = architecture(network, *nets)
    held = samples_on(data, where_of(common, device, None if precision == "bf16" else precision))
    found = []
    for side in nets:
        module = side if isinstance(side, nn.Module) else common
        made = tangent_kernel(
            module, held, state=side, kernel=kernel, memory=memory, device=device, precision=precision
        )
        found.append(made.values)
    return distance_of(found[0], found[1].to(found[0].device))


def _square(side: object, name: str) -> Square:
    """The values of a kernel.

    Raises:
        NetworkError: If they are no square matrix of numbers.
    """
    values = side.values if isinstance(side, Kernel) else tensor_of(side)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.is_floating_point():
        dtype = str(values.dtype).removeprefix("torch.")
        raise NetworkError(f"{name} is {dtype} of shape {tuple(values.shape)}: a kernel is a square matrix")
    return values


def kernel_velocity(
    a: Net | Kernel | Square,
    b: Net | Kernel | Square,
    dt: float,
    data: Data | None = None,
    *,
    network: nn.Module | None = None,
    kernel: KernelForm = "full",
    memory: int = MEMORY,
    device: Device | None = None,
    precision: Precision | None = None,
) -> float:
    """``v(t) = S(w_t, w_{t+Δt}) / Δt``: how fast a network's tangent kernel moves (Fort et al. 2020; Δt is 0.4 there).

    Args:
        a: The network at t, or its kernel; as :func:`kernel_distance` takes it.
        b: At t + Δt.
        dt: Δt, in epochs.
        data: The samples, for networks.
        network: The architecture, if both are state dicts.
        kernel: ``full``, ``trace`` or ``pseudo``, for networks.
        memory: Bytes of work space.
        device: None for where the network is.
        precision: None for the network's own.

    Returns:
        Kernel distance an epoch.

    Cost: as :func:`kernel_distance`.

    Raises:
        UsageError: If Δt is not above 0, or infinite.
        LandscapeError: As :func:`kernel_distance`.
    """
    if not 0 < dt < math.inf:
        raise UsageError(f"dt={dt}: Δt is a number of epochs above 0")
    apart = kernel_distance(
        a, b, data, network=network, kernel=kernel, memory=memory, device=device, precision=precision
    )
    return velocity(apart, dt)


@out_of_inference
def linearize(network: nn.Module, *, state: Net | None = None, order: Literal[1, 2] = 1) -> LinearizedNetwork:
    """The network's Taylor polynomial around its weights w̃, as a module to train (Fort et al. 2020; Bai et al. 2020).

    Order 1: ``f(x; w̃) + J(x; w̃)(w − w̃)``; order 2 adds ``½ (w − w̃)ᵀ ∇²f(x; w̃) (w − w̃)``. At w = w̃ its logits are
    the network's own to the last bit. It has the network's parameters by their names, so any optimiser takes it; batch
    norm uses the running statistics of w̃, dropout is off.

    Args:
        network: The network; a copy of it is linearised.
        state: Other weights w̃: a state dict, or a module.
        order: Of the polynomial.

    Cost of a training step, in forward passes F beside 3 F of an ordinary one: 5 F (order 2: 10 F). Memory: two
    networks, and two (three) sets of activations.

    Raises:
        CheckpointError: If ``state`` does not fit, or holds NaN.
        NetworkError: If the network cannot be linearised: the first forward pass names the layer.
        UsageError: If there is no such order.
    """
    if order not in (1, 2):
        raise UsageError(f"order={order}: there are polynomials of order 1 and 2")
    copied = carrying(network)
    copied.load_state_dict(fitting_state(copied, network if state is None else state, "the network"))
    return LinearizedNetwork(copied, order=order)
