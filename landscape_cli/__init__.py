"""Loss landscapes, tangent kernels and training trajectories, measured over checkpoint directories.

The public names are for notebooks and scripts: ``from landscape_cli import barrier, load_network``. Importing this
package loads neither torch nor numpy; a name does so when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape_cli.api.alignment import align as align
    from landscape_cli.api.answers import evaluate as evaluate
    from landscape_cli.api.answers import function_distance as function_distance
    from landscape_cli.api.answers import predict as predict
    from landscape_cli.api.curvature import hessian_density as hessian_density
    from landscape_cli.api.curvature import hessian_eigenvalues as hessian_eigenvalues
    from landscape_cli.api.curvature import hessian_trace as hessian_trace
    from landscape_cli.api.gradients import gradient_centroids as gradient_centroids
    from landscape_cli.api.gradients import gradient_distance as gradient_distance
    from landscape_cli.api.loading import load_checkpoint as load_checkpoint
    from landscape_cli.api.loading import load_network as load_network
    from landscape_cli.api.loading import load_samples as load_samples
    from landscape_cli.api.loading import open_run as open_run
    from landscape_cli.api.paths import barrier as barrier
    from landscape_cli.api.paths import plane as plane
    from landscape_cli.api.predictions import centroid as centroid
    from landscape_cli.api.predictions import inpca as inpca
    from landscape_cli.api.predictions import prediction_distances as prediction_distances
    from landscape_cli.api.predictions import progress as progress
    from landscape_cli.api.tangent import kernel_distance as kernel_distance
    from landscape_cli.api.tangent import kernel_velocity as kernel_velocity
    from landscape_cli.api.tangent import linearize as linearize
    from landscape_cli.api.tangent import tangent_kernel as tangent_kernel
    from landscape_cli.api.trajectories import trajectory_distances as trajectory_distances
    from landscape_cli.api.weights import relu_distance as relu_distance
    from landscape_cli.api.weights import weight_distance as weight_distance
    from landscape_cli.errors import LandscapeError as LandscapeError

__version__ = "0.1.0"

_HOMES = {
    "open_run": "api.loading",
    "load_checkpoint": "api.loading",
    "load_network": "api.loading",
    "load_samples": "api.loading",
    "evaluate": "api.answers",
    "barrier": "api.paths",
    "plane": "api.paths",
    "weight_distance": "api.weights",
    "relu_distance": "api.weights",
    "align": "api.alignment",
    "hessian_eigenvalues": "api.curvature",
    "hessian_trace": "api.curvature",
    "hessian_density": "api.curvature",
    "tangent_kernel": "api.tangent",
    "kernel_distance": "api.tangent",
    "kernel_velocity": "api.tangent",
    "linearize": "api.tangent",
    "gradient_centroids": "api.gradients",
    "gradient_distance": "api.gradients",
    "predict": "api.answers",
    "function_distance": "api.answers",
    "prediction_distances": "api.predictions",
    "progress": "api.predictions",
    "inpca": "api.predictions",
    "centroid": "api.predictions",
    "trajectory_distances": "api.trajectories",
    "LandscapeError": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape_cli' has no attribute '{name}'")
    import importlib

    found = getattr(importlib.import_module(f"landscape_cli.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
