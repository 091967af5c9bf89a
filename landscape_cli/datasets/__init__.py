"""Data sets: embedded, local and synthetic, as numpy arrays; subsets and label noise as transforms of them.

This room knows no torch: a data set is a few arrays, its classes, and how its inputs are normalised.
"""

from landscape_cli.datasets.dataset import DataSet, Normalization, Split
from landscape_cli.datasets.registry import DataSpec, load

__all__ = ["DataSet", "DataSpec", "Normalization", "Split", "load"]
