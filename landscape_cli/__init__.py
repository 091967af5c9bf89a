"""Loss landscapes, tangent kernels and training trajectories, measured over checkpoint directories.

Importing this package loads neither torch nor numpy; the rooms below it do so when they are used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
