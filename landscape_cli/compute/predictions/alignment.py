"""Laying one embedding over another (Kabsch 1976, Umeyama 1991)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from landscape_cli.errors import DataError


@dataclass(frozen=True, eq=False)
class Alignment:
    """``y ≈ scale · x R + translation``, and how well.

    Args:
        rotation: R, orthogonal, ``(from, to)``.
        scale: 1 unless asked for.
        translation: A vector.
        rmsd: ``√(Σ_i m_i ‖y_i − ŷ_i‖² / Σ m_i)``.
    """

    rotation: Float64[np.ndarray, "dim dim"]
    scale: float
    translation: Float64[np.ndarray, " dim"]
    rmsd: float

    def apply(self, points: Float64[np.ndarray, "point dim"]) -> Float64[np.ndarray, "point dim"]:
        """Where points lie after it."""
        return np.asarray(self.scale * points @ self.rotation + self.translation)


def align(
    moving: Float64[np.ndarray, "point dim"],
    fixed: Float64[np.ndarray, "other _"],
    *,
    reflect: bool = True,
    scale: bool = False,
    weights: Float64[np.ndarray, " point"] | None = None,
) -> Alignment:
    """The rotation, reflection and translation that lay points best over others: Kabsch–Umeyama.

    Minimises ``Σ m_i ‖y_i − (s x_i R + t)‖²``: with centred points and ``Xᵀ M Y = A S Bᵀ``, ``R = A Bᵀ`` (its last
    column turned where reflection is not allowed), ``s = tr S / Σ m ‖x‖²``.

    The coordinates of an embedding are taken as Euclidean here, as Mao et al. 2023 (Fig. 12) do, whatever their
    signature: an alignment compares pictures, it does not keep Minkowski intervals.

    Args:
        moving: x.
        fixed: y, the same points in the same order.
        reflect: Whether mirror images may be laid over each other; the sign of a dimension is free.
        scale: Whether the size may change.
        weights: m; by default all 1.

    Raises:
        DataError: If there are no points, or not as many of the one as of the other.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> round(align(square, square[:, ::-1] + 3).rmsd, 12)
    0.0
    """
    if moving.shape != fixed.shape or len(moving) == 0:
        raise DataError(f"points of shapes {moving.shape} and {fixed.shape} cannot be laid over each other")
    m = np.ones(len(moving)) if weights is None else weights
    share = (m / m.sum())[:, None]
    from_middle, to_middle = (share * moving).sum(axis=0), (share * fixed).sum(axis=0)
    x, y = moving - from_middle, fixed - to_middle
    left, sizes, right = np.linalg.svd((share * x).T @ y)
    turn = np.ones(len(sizes))
    if not reflect and np.linalg.det(left @ right) < 0:
        turn[-1] = -1.0
    rotation = (left * turn) @ right
    spread = float((share * x**2).sum())
    factor = float((sizes * turn).sum()) / spread if scale and spread > 0 else 1.0
    translation = to_middle - factor * from_middle @ rotation
    off = y - factor * x @ rotation
    return Alignment(rotation, factor, translation, float(np.sqrt((share * off**2).sum())))
