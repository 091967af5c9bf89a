"""Curvature of the loss in a notebook."""

from collections.abc import Callable

from torch import nn

from landscape_cli.api.data import Data, check_batch_size, check_outputs, samples_on
from landscape_cli.api.networks import state_of, walker, where_of
from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.curvature_choices import Curvature, CurvatureNorm
from landscape_cli.compute.weights.curvature_operators import MEMORY, OPERATORS
from landscape_cli.compute.weights.lanczos import PRODUCTS, TOLERANCE, Eigenpairs, eigenpairs
from landscape_cli.errors import DataError, UsageError


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
    device: str | None = None,
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
        batch_size: Samples a pass; with ``bn='train'`` a minibatch.
        tolerance: Relative residual to stop at.
        max_products: Most products with the Hessian; beyond it the best so far comes back, ``converged`` False.
        memory: Bytes of graphs kept between products.
        seed: Of the random start.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.
        on_product: Told how many products are done.

    Returns:
        ``values`` (the largest first, then the smallest), ``vectors`` ``(pair, parameter)`` and ``residuals``: an
        eigenvalue lies within its residual of what is told.

    Cost: a product costs two to three forward and backward passes over the data; λ_max takes about a dozen.

    Raises:
        CheckpointError: If the network holds NaN.
        DataError: If there are no samples, or too few for one batch with ``bn='train'``.
        NetworkError: If an operation has no second derivative, or a product is no number.
        UsageError: If more eigenvalues are wanted than there are, or ``bn_data`` is missing.
    """
    if curvature not in OPERATORS:
        raise UsageError(f"there is no curvature '{curvature}'", "it is " + ", ".join(OPERATORS))
    where = where_of(network, device, precision)
    copied = walker(network, where)
    state_of(copied, "the network")
    samples = samples_on(data, where)
    check_outputs(copied, samples)
    mode = bn if batch_norms(copied) else None
    whole = mode == "train"
    batches = [(x, y) for x, y in samples.batches(check_batch_size(batch_size)) if len(y) == batch_size or not whole]
    if not batches:
        raise DataError(f"{len(samples)} samples make no batch of {batch_size}")
    with math_mode(where):
        if mode == "recompute":
            if bn_data is None:
                raise UsageError("bn='recompute' needs training data", "give it: bn_data=TRAIN_LOADER (not augmented)")
            recompute_statistics(copied, samples_on(bn_data, where), batch=batch_size)
        operator = OPERATORS[curvature](copied, batches, batch_statistics=whole, memory=memory)
        return eigenpairs(
            operator, top=top, bottom=bottom, tolerance=tolerance, products=max_products, seed=seed,
            on_product=on_product,
        )  # fmt: skip
