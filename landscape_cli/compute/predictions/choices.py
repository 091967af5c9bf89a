"""Distances between predictions and embeddings of them, by name. Knows no torch, so that the command line can too."""

from typing import Literal

DistanceName = Literal["bhattacharyya", "skl", "geodesic", "hellinger", "euclidean"]
SolverName = Literal["auto", "dense", "krylov"]
MethodName = Literal["inpca", "iskl", "geodesic", "pca"]
CentroidName = Literal["arithmetic", "sqrt", "geometric", "harmonic", "bhattacharyya", "jeffreys", "geodesic"]
IndexName = Literal["progress", "error"]

METHOD_DISTANCES: dict[MethodName, DistanceName] = {
    "inpca": "bhattacharyya",
    "iskl": "skl",
    "geodesic": "geodesic",
    "pca": "euclidean",
}
