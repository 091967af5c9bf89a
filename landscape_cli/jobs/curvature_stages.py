"""The stages of measuring curvature at a checkpoint: eigenpairs, trace, spectral density."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.tangent.centroids import gradient_centroids
from landscape_cli.compute.weights.curvature_choices import Curvature, CurvatureNorm, TraceMethod
from landscape_cli.compute.weights.curvature_operators import MEMORY, NetworkOperator, Operator
from landscape_cli.compute.weights.eigenspaces import overlap
from landscape_cli.compute.weights.lanczos import PRODUCTS, TOLERANCE, Eigenpairs, dot, eigenpairs, mean_and_error
from landscape_cli.compute.weights.spectral_density import SMOOTHING, spectral_density
from landscape_cli.compute.weights.trace import trace
from landscape_cli.jobs.bench import Setup

PART_TOLERANCE = 0.01  # of λ_max on parts of the sample, whose spread is wanted and not their digits
EXPECTED = 12  # products that λ_max usually takes

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CurvatureSettings:
    """What to measure of which curvature.

    Args:
        curvature: Hessian, Gauss–Newton or empirical Fisher.
        split: Whose samples.
        samples: How many; None for 2,000 or all.
        batch_norm: What batch norm normalises by: the checkpoint's statistics, recomputed ones, or the batch's.
        batch_size: Samples a pass, and a minibatch where batch norm normalises by it; None for 100 and the run's own.
        top: Largest eigenvalues.
        bottom: Smallest eigenvalues.
        tolerance: Relative residual.
        products: Most products for the eigenpairs.
        parts: Disjoint parts of the sample whose λ_max is compared; 0 for none.
        trace_products: Products for the trace; 0 for none.
        trace_method: Of the trace.
        probes: Random vectors of the spectral density; 0 for none.
        steps: Lanczos steps from each.
        smoothing: Width of the density's Gaussians, as a share of the spectrum's range.
        overlap: The overlap of the top eigenspace with the span of the logit-gradient centroids too.
        memory: Bytes of graphs kept.
        fresh: Measure again what is already known.
    """

    curvature: Curvature = "hessian"
    split: SplitName = "train"
    samples: int | None = None
    batch_norm: CurvatureNorm = "eval"
    batch_size: int | None = None
    top: int = 1
    bottom: int = 0
    tolerance: float = TOLERANCE
    products: int = PRODUCTS
    parts: int = 4
    trace_products: int = 0
    trace_method: TraceMethod = "hutch++"
    probes: int = 0
    steps: int = 40
    smoothing: float = SMOOTHING
    overlap: bool = False
    memory: int = MEMORY
    fresh: bool = False


class Counter:
    """Adds up products over the stages of a measurement."""

    def __init__(self, progress: Progress, settings: CurvatureSettings) -> None:
        self.done = 0
        self.of = EXPECTED * (settings.top + settings.bottom) + settings.trace_products
        self.of += settings.probes * settings.steps
        self._progress = progress

    def __call__(self, _: int) -> None:
        """One more."""
        self.done += 1
        self._progress(self.done, max(self.of, self.done))


def pairs_stage(
    operator: NetworkOperator,
    samples: Samples,
    settings: CurvatureSettings,
    setup: Setup,
    seed: int,
    count: Counter,
    keep: Callable[[Eigenpairs, NetworkOperator], None] | None,
) -> dict[str, Any]:
    """Eigenpairs, loss and gradient; overlap with the centroids and λ_max on parts of the sample, if asked for."""
    loss, gradient = operator.gradient()
    classes = setup.data.classes
    top = max(settings.top, classes if settings.overlap else 0)
    found = eigenpairs(
        operator, top=top, bottom=settings.bottom, tolerance=settings.tolerance, products=settings.products, seed=seed,
        on_product=count,
    )  # fmt: skip
    values, relative = found.values.tolist(), found.relative
    record: dict[str, Any] = {
        "curvature": settings.curvature,
        "lambda_max": values[0] if top else None,
        "residual": relative[0] if top else None,
        "lambda_max_sd": None,
        "lambda_min": values[-1] if settings.bottom else None,
        "eigenvalues": values,
        "residuals": relative,
        "tolerance": settings.tolerance,
        "converged": found.converged,
        "products": found.products,
        "loss": loss,
        "gradient_norm": math.sqrt(dot(gradient, gradient)),
        "parameters": operator.size,
        "kinks": list(operator.kinks),
        "steps_in_network": list(operator.steps),
        "own_functions": list(operator.suspects),
    }
    if keep is not None:
        keep(found, operator)
    if settings.overlap:
        centroids = gradient_centroids(setup.network, samples, batch=len(operator.batches[0][1]))
        space = found.vectors[: min(classes, top)]
        shared = overlap(space, centroids)
        along = space @ gradient
        square = dot(gradient, gradient)
        in_top = dot(along, along) / square if square else math.nan
        record |= {
            "overlap": shared.share,
            "overlap_expected": shared.expected,
            "overlap_cosines": shared.cosines,
            "overlap_each": shared.each,
            "overlap_dimensions": list(shared.dimensions),
            "gradient_overlap": in_top,
        }
    if settings.parts > 1 and top:
        start = found.vectors[0].clone()
        del found
        record |= _spread(operator, start, settings, seed, count)
    return record


def _spread(
    operator: NetworkOperator, start: torch.Tensor, settings: CurvatureSettings, seed: int, count_product: Counter
) -> dict[str, Any]:
    """λ_max on disjoint parts of the sample, each made of whole batches (or of single samples if those are too few)."""
    count = len(operator.batches)
    parts: list[Operator]
    if count >= settings.parts:
        parts = [operator.part(range(part, count, settings.parts)) for part in range(settings.parts)]
    elif operator.batch_statistics or operator.samples < settings.parts:
        return {}
    else:
        x, y = (torch.cat(side) for side in zip(*operator.batches, strict=True))
        pieces = zip(torch.tensor_split(x, settings.parts), torch.tensor_split(y, settings.parts), strict=True)
        parts = [type(operator)(operator.network, [piece], memory=settings.memory) for piece in pieces]
    values = []
    for number, part in enumerate(parts, start=1):
        found = eigenpairs(
            part, tolerance=max(PART_TOLERANCE, settings.tolerance), start=start, seed=seed + number,
            products=settings.products, on_product=count_product,
        )  # fmt: skip
        values.append(float(found.values[0]))
    mean, error = mean_and_error(values)
    return {
        "lambda_max_sd": error * math.sqrt(len(values)),
        "lambda_max_parts": values,
        "lambda_max_parts_mean": mean,
        "lambda_max_parts_tolerance": max(PART_TOLERANCE, settings.tolerance),
    }


def trace_stage(operator: NetworkOperator, settings: CurvatureSettings, seed: int, count: Counter) -> dict[str, Any]:
    """The trace, if asked for."""
    if not settings.trace_products:
        return {}
    found = trace(operator, products=settings.trace_products, method=settings.trace_method, seed=seed, on_product=count)
    return {
        "trace": found.value,
        "trace_error": found.standard_error,
        "trace_products": found.products,
        "trace_method": found.method,
    }


def density_stage(operator: NetworkOperator, settings: CurvatureSettings, seed: int, count: Counter) -> dict[str, Any]:
    """The spectral density, if asked for."""
    if not settings.probes:
        return {}
    found = spectral_density(operator, probes=settings.probes, steps=settings.steps, seed=seed, on_product=count)
    grid = found.grid(smoothing=settings.smoothing)
    values, error = found.smooth(grid, settings.smoothing)
    share, share_error = found.share_below(0.0)
    return {
        "negative_share": share,
        "negative_share_error": share_error,
        # The quadrature is the result, small enough for a record; the grid is one smoothing of it, ready to be drawn.
        "density": {
            "nodes": found.nodes.tolist(),
            "weights": found.weights.tolist(),
            "grid": grid.tolist(),
            "values": values.tolist(),
            "error": error.tolist(),
            "width": found.width(settings.smoothing),
            "products": found.products,
        },
    }
