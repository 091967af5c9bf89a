"""Adding models to an embedding that stays as it is (Mao et al. 2023, Eqs. 9 and 10)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from landscape_cli.compute.predictions.embedding import Embedding
from landscape_cli.errors import DataError


@dataclass(frozen=True, eq=False)
class Frame:
    """What an embedding must keep so that models can be added: the models that shaped it, and nothing of D.

    Args:
        coordinates: X of the models of positive weight, ``(model, dim)``.
        eigenvalues: Σ with its signs; 0 for a dimension without extent.
        weights: Their multiplicities.
        row_means: μ, their mean distances.
        mean: m̄.
    """

    coordinates: Float64[np.ndarray, "model dim"]
    eigenvalues: Float64[np.ndarray, " dim"]
    weights: Float64[np.ndarray, " model"]
    row_means: Float64[np.ndarray, " model"]
    mean: float

    def place(self, rows: Float64[np.ndarray, "added model"]) -> Float64[np.ndarray, "added dim"]:
        """Coordinates of rows w of W: ``wᵀ m^½ V Σ⁻¹ √|Σ| = Σ_j w_j m_j X_j / Σ``; 0 in a dimension without extent."""
        sums = rows @ (self.weights[:, None] * self.coordinates)
        return np.asarray(np.divide(sums, self.eigenvalues, out=np.zeros_like(sums), where=self.eigenvalues != 0))


def frame(embedding: Embedding) -> Frame:
    """The frame of an embedding: its models of positive weight."""
    shaping = shaped_by(embedding)
    return Frame(
        coordinates=embedding.coordinates[shaping],
        eigenvalues=embedding.eigenvalues,
        weights=embedding.weights[shaping],
        row_means=embedding.row_means[shaping],
        mean=embedding.mean,
    )


def shaped_by(embedding: Embedding) -> Bool[np.ndarray, " model"]:
    """Which models an embedding was computed from; the others were added to it."""
    return np.asarray(embedding.weights > 0)


def project(frame: Frame, distances: Float64[np.ndarray, "added model"]) -> Float64[np.ndarray, "added dim"]:
    """Coordinates of new models from their distances to the models of the frame alone (Eq. 9).

    ``w_j = −½ (d_j − Σ_l p_l d_l − μ_j + m̄)``, ``X_new = wᵀ m^½ V Σ⁻¹ √|Σ|``, ``p = m / Σm``. A model of the frame
    that is added again gets its own coordinates; new models do not move it, or each other.

    Test models in an embedding of training models (Eq. 10) are the same with test distances for d. There the mean
    that is taken off a row is that of its *training* distances; but what is constant along a row drops out, because
    ``Σ_j m_j X_j = 0``. The same holds for a frame that was fitted on few samples, and distances on all of them.

    Args:
        frame: The embedding.
        distances: d, a row a new model, in the order of the frame's models.

    Cost: ``2 · added · M · k`` operations.

    Raises:
        DataError: If the distances do not fit, or hold what is no finite number; the first pair is named.
    """
    check_fit(distances, frame)
    own = distances @ (frame.weights / frame.weights.sum())
    return frame.place(-0.5 * (distances - own[:, None] - frame.row_means + frame.mean))


def check_fit(distances: Float64[np.ndarray, "added model"], frame: Frame) -> None:
    """Check that distances have a column for each model of a frame, all finite.

    Raises:
        DataError: If not.
    """
    if distances.shape[1] != len(frame.weights):
        raise DataError(f"distances to {distances.shape[1]} models do not fit an embedding of {len(frame.weights)}")
    bad = np.argwhere(~np.isfinite(distances))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"the distance of new model {row} and embedded model {column} (counted from 0) is {distances[row, column]}",
            "leave it out, or cap the distances",
        )
