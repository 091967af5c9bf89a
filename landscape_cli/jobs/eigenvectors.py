"""Eigenvectors of a curvature in a file, shaped as the weights that they are directions of."""

from pathlib import Path

import torch

from landscape_cli.compute.weights.curvature_operators import NetworkOperator
from landscape_cli.compute.weights.lanczos import Eigenpairs
from landscape_cli.errors import ConflictError
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.checkpoints import read_tensors, tensors_hash, write_tensors


def save_eigenvectors(
    path: Path, pairs: Eigenpairs, operator: NetworkOperator, subject: Subject, *, force: bool = False
) -> None:
    """Write eigenvectors as one safetensors file: for each parameter a tensor ``(pair, *shape)``, and ``eigenvalues``.

    Raises:
        ConflictError: If another file is there and may not be replaced.
        StorageError: If it cannot be written.
    """
    tensors = {"eigenvalues": pairs.values, "residuals": pairs.residuals}
    parts = torch.split(pairs.vectors, [p.numel() for _, p in operator.parameters], dim=1)
    for (name, parameter), part in zip(operator.parameters, parts, strict=True):
        tensors[name] = part.reshape(len(pairs.values), *parameter.shape)
    if path.exists() and not force and tensors_hash(read_tensors([path])) != tensors_hash(tensors):
        raise ConflictError(f"{path} exists and holds something else", "choose another --vectors, or --force")
    write_tensors(path, tensors, {"kind": "eigenvectors", "of": operator.name, "checkpoint": model_name(subject)})
