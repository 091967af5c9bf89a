"""The three-coordinate reading of an embedding (Mao et al. 2023, Eqs. 11, 12, Fig. 12)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions.distances import distance_sums
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.projection import frame, project
from landscape_cli.compute.predictions.reading import (
    DIMS,
    NEAR,
    REACH,
    SIGMA,
    progress_weights,
    read_coordinates,
    weighted_sums,
)
from landscape_cli.compute.predictions.references import ignorance, truth
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.embedding import Base, Resources
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.jobs.progress import measure_progress, models_at_a_time
from landscape_cli.store.embeddings import Overlay, ThreeCoordinates
from landscape_cli.store.matrices import REFERENCE
from landscape_cli.store.predictions import Predictions

DOUBLES = 8  # bytes of a probability here


@dataclass(frozen=True)
class ReadingSettings:
    """Which two means stand for the middle of training.

    Args:
        near: Their progress.
        sigma: Width of the Gaussian that weighs models by their distance from it.
        reach: Models at this Bhattacharyya distance from the truth, or farther, are left out of them.
    """

    near: tuple[float, float] = NEAR
    sigma: float = SIGMA
    reach: float = REACH


def read_three(
    base: Base, predictions: Predictions, settings: ReadingSettings, resources: Resources
) -> ThreeCoordinates:
    """Embed ignorance, truth and two means, add all models to them, and lay the result over the full embedding.

    Args:
        base: The full embedding.
        predictions: Its models, in its order.
        settings: Which means.
        resources: What may be used.

    Raises:
        UsageError: If the embedding has less than three dimensions, or the memory is too little.
        DataError: If no model is near one of the means, or a distance is infinite.
    """
    embedding = base.embedding
    if embedding.dims < DIMS:
        raise UsageError(f"the reading compares {DIMS} dimensions, the embedding has {embedding.dims}", "ask for -k 3")
    smoothing = float(base.source.matrix.attributes.get("label_smoothing", 0.0))
    measured = list(measure_progress(predictions, smoothing=smoothing, memory=resources.memory))
    progress, far = (np.asarray([record[name] for record in measured]) for name in ("progress", "truth"))
    weights = np.stack(
        [progress_weights(progress, far, s, sigma=settings.sigma, reach=settings.reach) for s in settings.near]
    )
    measure = _Measure(predictions, embedding.distance, embedding.cap, smoothing, weights, settings, resources)
    models = embedding.models
    found = read_coordinates(measure.among(), measure.models(), embedding.coordinates[models])
    own = np.full((len(embedding.rows), found.coordinates.shape[1]), np.nan)
    own[models] = found.coordinates
    references = np.flatnonzero(embedding.rows.column(REFERENCE) != "")
    for row in references:
        kind = embedding.rows.column(REFERENCE)[row]
        time = float(embedding.rows.column("progress")[row]) if kind == "geodesic" else None
        own[row] = project(frame(found.embedding), measure.reference(kind, time))[0]
    moved = found.alignment.apply(own)
    l1, l2 = base.explained(own, found.embedding.signature)
    effective = 1 / (weights**2).sum(axis=1)
    return ThreeCoordinates(
        overlay=Overlay(
            onto="the full embedding",
            coordinates=moved,
            rmsd=found.alignment.rmsd,
            models=len(models),
            rotation=found.alignment.rotation,
            translation=found.alignment.translation,
        ),
        own_coordinates=own,
        eigenvalues=found.embedding.eigenvalues,
        near=settings.near,
        sigma=settings.sigma,
        models_near=(float(effective[0]), float(effective[1])),
        explained_l1=l1,
        explained_l2=l2,
    )


class _Measure:
    """Distances to ignorance, truth and the two means, some models at a time."""

    def __init__(
        self,
        predictions: Predictions,
        distance: str,
        cap: float | None,
        smoothing: float,
        weights: NDArray[np.float64],
        settings: ReadingSettings,
        resources: Resources,
    ) -> None:
        self.predictions, self.distance, self.cap = predictions, distance, cap
        self.names = ["ignorance", "truth", *(f"the mean near {s}" for s in settings.near)]
        self._rows = ModelRows(predictions)
        four = 2 * 4 * DOUBLES * predictions.samples * predictions.classes
        if four > resources.memory // 2:
            raise UsageError(
                f"--memory {resources.memory} bytes is too little for four models of {predictions.path}",
                f"the least that works is --memory {-(-2 * four // 1_000_000)}MB",
            )
        self._step = models_at_a_time(self._rows, resources.memory - four)
        labels = torch.from_numpy(predictions.labels)
        self._start = ignorance(predictions.samples, predictions.classes)
        self._end = truth(labels, predictions.classes, smoothing=smoothing)
        self.four = torch.stack([self._start, self._end, *self._means(torch.from_numpy(weights))])

    def among(self) -> NDArray[np.float64]:
        """Distances of the four among each other."""
        return self._distances(self.four, None, self.names)

    def models(self) -> NDArray[np.float64]:
        """Distances of all models to the four."""
        names = self.predictions.table.column("name").tolist()
        parts = [self._distances(block, self.four, names[rows]) for rows, block in self._blocks()]
        return np.concatenate(parts)

    def reference(self, kind: str, time: float | None) -> NDArray[np.float64]:
        """Distances of a reference model to the four."""
        if time is not None:
            at = geodesic(self._start, self._end, torch.tensor([time], dtype=torch.float64))
            return self._distances(at, self.four, [f"{kind} {time:.4g}"])
        return self._distances(self.four[[self.names.index(kind)]], self.four, [kind])

    def _means(self, weights: Tensor) -> Tensor:
        sums = torch.zeros(len(weights), *self._start.shape, dtype=torch.float64)
        for rows, block in self._blocks():
            sums += weighted_sums(block, weights[:, rows])
        return sums.log()

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Models, some at a time, in float64."""
        for start in range(0, len(self._rows), self._step):
            taken = slice(start, min(start + self._step, len(self._rows)))
            yield taken, self._rows.read(taken, slice(0, self.predictions.samples)).to(torch.float64)

    def _distances(self, first: Tensor, second: Tensor | None, names: Sequence[str]) -> NDArray[np.float64]:
        sums = distance_sums(first, second, kind=self.distance)  # type: ignore[arg-type]
        found = (sums / self.predictions.samples).numpy()
        if self.cap is not None:
            found = np.minimum(found, self.cap)
        if len(bad := np.argwhere(~np.isfinite(found))):
            row, column = bad[0]
            raise DataError(
                f"{names[row]} and {self.names[column]} are infinitely far apart ({self.distance}): no reading",
                "use the Bhattacharyya distance, --label-smoothing, or --cap X",
            )
        return np.asarray(found)
