"""Curvature of the loss in a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from landscape_cli.api.calls import check_choice, check_count, out_of_inference, settled
from landscape_cli.api.data import Data, samples_on
from landscape_cli.api.ends import statistics_on
from landscape_cli.api.networks import Device, fitting_state, own_module, trainable, walker, where_of
from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.probing import check_outputs
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.curvature_choices import Curvature, CurvatureNorm, TraceMethod
from landscape_cli.compute.weights.curvature_operators import MEMORY, OPERATORS, NetworkOperator
from landscape_cli.compute.weights.lanczos import PRODUCTS, TOLERANCE, Eigenpairs, eigenpairs
from landscape_cli.compute.weights.spectral_density import SpectralDensity, spectral_density
from landscape_cli.compute.weights.trace import TraceEstimate, trace
from landscape_cli.errors import DataError, UsageError


@out_of_inference
def hessian_eigenvalues(
    network: nn.Module,
    data: Data,
    *,
    top: int = 1,
    bottom: int = 0,
    curvature: Curvature = "hessian",
    bn: CurvatureNorm = "eval",
    bn_data: Data | None = None,
    batch_size: int = BATCH,
    tolerance: float = TOLERANCE,
    max_products: int = PRODUCTS,
    memory: int = MEMORY,
    seed: int = 0,
    device: Device | None = None,
    precision: Precision | None = None,
    on_product: Callable[[int], None] = lambda done: None,
) -> Eigenpairs:
    """The largest and smallest eigenvalues of the Hessian of the mean loss over the trainable weights, by Lanczos.

    ``H = ∇² (1/n) Σ_i ℓ(f(x_i; w), y_i)``, ℓ the cross-entropy in nats.

    Args:
        network: The network; it is left alone.
        data: The n samples, anything that yields ``(inputs, labels)``: 2,000 or more tell of the loss itself.
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest (most negative).
        curvature: ``hessian``, ``gauss-newton`` or ``empirical-fisher``.
        bn: What batch norm normalises by: its running statistics (``eval``), recomputed ones (``recompute``, needs
            ``bn_data``), or the batch's (``train``, the derivative goes through them).
        bn_data: Training data to recompute the statistics on.
        batch_size: Samples a pass; with ``bn='train'`` a minibatch, and what is left over of the data is not used.
        tolerance: Relative residual to stop at.
        max_products: Most products with the Hessian; beyond it the best so far comes back, ``converged`` False.
        memory: Bytes of graphs kept between products.
        seed: Of the random start.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.
        on_product: Told how many products are done.

    Returns:
        ``values`` (the largest first, then the smallest), ``vectors`` ``(pair, parameter)`` and ``residuals``: an
        eigenvalue lies within its residual of what is told. The command ``hessian`` takes the samples in an order of
        its own, which tells in the last digits.

    Cost: a product costs two to three forward and backward passes over the data; λ_max takes about a dozen.

    Raises:
        CheckpointError: If the network holds NaN.
        DataError: If there are no samples, or too few for one batch with ``bn='train'``.
        NetworkError: If an operation has no second derivative, or a product is no number.
        UsageError: If more eigenvalues are wanted than there are, ``bn_data`` is missing, or a setting means nothing.
    """
    check_count("top", top, 0), check_count("bottom", bottom, 0), check_count("max_products", max_products)
    with _operator(network, data, curvature, bn, bn_data, batch_size, memory, device, precision) as operator:
        return eigenpairs(
            operator, top=top, bottom=bottom, tolerance=tolerance, products=max_products, seed=seed,
            on_product=on_product,
        )  # fmt: skip


@out_of_inference
def hessian_trace(
    network: nn.Module,
    data: Data,
    *,
    products: int = 30,
    method: TraceMethod = "hutch++",
    curvature: Curvature = "hessian",
    bn: CurvatureNorm = "eval",
    bn_data: Data | None = None,
    batch_size: int = BATCH,
    memory: int = MEMORY,
    seed: int = 0,
    device: Device | None = None,
    precision: Precision | None = None,
    on_product: Callable[[int], None] = lambda done: None,
) -> TraceEstimate:
    """``tr H`` of the mean loss over the trainable weights, from products with random vectors, without bias.

    ``hutchinson``: the mean of ``zᵀ H z`` over random signs z (Hutchinson 1990); ``hutch++`` (Meyer et al. 2021) takes
    the trace exactly in a space where H is large.

    Args:
        network: The network; it is left alone.
        data: The samples.
        products: How many products with H; of ``hutch++`` a multiple of three is used.
        method: Which of the two.
        curvature: As for :func:`hessian_eigenvalues`.
        bn: As there.
        bn_data: As there.
        batch_size: As there.
        memory: Bytes of graphs kept between products.
        seed: Of the random vectors.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.
        on_product: Told how many products are done.

    Returns:
        ``value``, in nats over squared weights, and its ``standard_error`` over the random vectors.

    Cost: the products, of two to three forward and backward passes each; ``hutch++`` holds ``products/3`` vectors.

    Raises:
        UsageError: If there are too few products, or a setting means nothing.
        LandscapeError: As :func:`hessian_eigenvalues`.
    """
    check_choice("method", method, TraceMethod)
    with _operator(network, data, curvature, bn, bn_data, batch_size, memory, device, precision) as operator:
        return trace(operator, products=products, method=method, seed=seed, on_product=on_product)


@out_of_inference
def hessian_density(
    network: nn.Module,
    data: Data,
    *,
    probes: int = 4,
    steps: int = 40,
    curvature: Curvature = "hessian",
    bn: CurvatureNorm = "eval",
    bn_data: Data | None = None,
    batch_size: int = BATCH,
    memory: int = MEMORY,
    seed: int = 0,
    device: Device | None = None,
    precision: Precision | None = None,
    on_product: Callable[[int], None] = lambda done: None,
) -> SpectralDensity:
    """The density of the Hessian's eigenvalues by stochastic Lanczos quadrature (Ghorbani et al. 2019).

    ``φ(t) ≈ (1/n_v) Σ_v Σ_k ω_vk δ(t − θ_vk)``, each probe's weights ω adding up to 1.

    Args:
        network: The network; it is left alone.
        data: The samples.
        probes: Random vectors v.
        steps: Of Lanczos' method from each.
        curvature: As for :func:`hessian_eigenvalues`.
        bn: As there.
        bn_data: As there.
        batch_size: As there.
        memory: Bytes of graphs kept between products.
        seed: Of the random vectors.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.
        on_product: Told how many products are done.

    Returns:
        ``nodes`` θ and ``weights`` ω, ``(probe, step)``. To draw it: ``t = found.grid()``, ``found.smooth(t)``.
        ``moment(1)`` is the trace over the number of weights, ``share_below(0)`` the share of negative eigenvalues.

    Cost: ``probes · steps`` products; memory of ``steps`` vectors.

    Raises:
        UsageError: If there are no probes or steps, or a setting means nothing.
        LandscapeError: As :func:`hessian_eigenvalues`.
    """
    with _operator(network, data, curvature, bn, bn_data, batch_size, memory, device, precision) as operator:
        return spectral_density(operator, probes=probes, steps=steps, seed=seed, on_product=on_product)


@contextmanager
def _operator(
    network: nn.Module,
    data: Data,
    curvature: Curvature,
    bn: CurvatureNorm,
    bn_data: Data | None,
    batch_size: int,
    memory: int,
    device: Device | None,
    precision: Precision | None,
) -> Iterator[NetworkOperator]:
    """The curvature of a copy of the network on the samples, in the modes it is measured in."""
    check_choice("curvature", curvature, Curvature)
    check_choice("bn", bn, CurvatureNorm)
    check_count("batch_size", batch_size)
    where = where_of(own_module(network), device, precision)
    copied = walker(network, where)
    fitting_state(copied, copied, "the network")
    trainable(copied)
    samples = samples_on(data, where)
    mode = bn if batch_norms(copied) else None
    whole = mode == "train"
    with settled(where):
        check_outputs(copied, samples)
        # Anew: batches that an evaluation prepared in inference mode are no tensors to differentiate with.
        drawn = samples.to(where).batches(batch_size)
        batches = [(x, y) for x, y in drawn if len(y) == batch_size or not whole]
        if not batches:
            raise DataError(f"{len(samples)} samples make no batch of {batch_size}")
        if mode == "recompute":
            if bn_data is None:
                raise UsageError("bn='recompute' needs training data", "give it: bn_data=TRAIN_LOADER (not augmented)")
            recompute_statistics(copied, statistics_on(bn_data, copied, where), batch=batch_size)
        yield OPERATORS[curvature](copied, batches, batch_statistics=whole, memory=memory)
