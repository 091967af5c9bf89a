"""From a result and what is asked of its figure to the figure itself."""

from pathlib import Path
from typing import Any

from landscape_cli.cli.asked import NONE, PLANES, VIEWS, Asked
from landscape_cli.cli.prediction_options import parse_names
from landscape_cli.errors import UsageError
from landscape_cli.plots.recognise import RECORDS, Figure, Result


def draw(result: Result, figure: Figure, asked: Asked) -> Any:
    """A figure of a result, as matplotlib has it.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: See :func:`write`.
        DataError: Likewise.
    """
    if figure in VIEWS:
        from landscape_cli.plots.embedding import embedding_figure

        given = asked.given("dims", "color", "marker", "line")
        return embedding_figure(embedded_of(result, figure, asked), **given, **asked.size)
    if figure in ("spectrum", "stress"):
        from landscape_cli.plots import spectrum

        draw = spectrum.spectrum_figure if figure == "spectrum" else spectrum.stress_figure
        return draw(embedded_of(result, "embedding", asked), **asked.size)
    if figure == "progress":
        from landscape_cli.plots.progress import progress_figure

        given = asked.given("x", "y", "color", "line", "group_by")
        return progress_figure(_table(result, asked), **given, **asked.size)
    if figure == "trajectories":
        from landscape_cli.plots.trajectories import trajectories_figure
        from landscape_cli.store.trajectories import Trajectories

        assert result.path is not None
        given = asked.given("y", "color", "where")
        return trajectories_figure(Trajectories.open(result.path), **given, **asked.size)
    if figure in ("dendrogram", "importance"):
        return _draw_clusters(result, figure, asked)
    if figure in PLANES:
        from landscape_cli.plots.plane import plane_figure
        from landscape_cli.plots.surface import surface_figure

        drawn = plane_figure if figure == "plane" else surface_figure
        return drawn(plane_of(result), **plane_options(asked), **asked.size)
    if figure == "training":
        from landscape_cli.plots.training import training_figure

        if asked.line not in (None, "run"):
            raise UsageError(f"--line {asked.line}: of training there is --line run, every run by itself")
        # One run by two names is no repeat of itself.
        paths = {path.resolve(): path for record in _records(result, asked) if (path := Path(record["path"]))}
        return training_figure(list(paths.values()), apart=asked.line == "run", **asked.size)
    if figure == "matrix":
        return _draw_matrix(result, asked)
    if figure == "spawn":
        from landscape_cli.plots.pair_distances import spawn_figure

        return spawn_figure(_records(result, asked), **asked.size)
    if figure == "models":
        return _draw_models(result, asked)
    if figure == "curve":
        from landscape_cli.plots.barrier import curve_figure

        return curve_figure(_records(result, asked), **asked.size)
    if figure in ("scatter", "through"):
        from landscape_cli.plots.sibling_distances import scatter_figure, through_figure

        if figure == "through":
            return through_figure(_records(result, asked), **asked.size)
        return scatter_figure(_records(result, asked), **asked.given("x", "y"), **asked.size)
    if figure in ("velocity", "linearized", "advantage"):
        from landscape_cli.plots import tangent

        figures = {
            "velocity": tangent.velocity_figure,
            "linearized": tangent.linearized_figure,
            "advantage": tangent.advantage_figure,
        }
        return figures[figure](_records(result, asked), **asked.size)
    if figure == "against-barrier":
        return _draw_against_barrier(result, asked)
    if figure in ("sharpness", "density", "overlap", "escape"):
        from landscape_cli.plots import curvature

        figures = {
            "sharpness": curvature.sharpness_figure,
            "density": curvature.density_figure,
            "overlap": curvature.overlap_figure,
            "escape": curvature.escape_figure,
        }
        return figures[figure](_records(result, asked), **asked.size)
    return _draw_barriers(result, figure, asked)


def plane_of(result: Result) -> Any:
    """The plane that a result is."""
    from landscape_cli.store.planes import StoredPlane

    assert result.path is not None
    return StoredPlane.open(result.path)


def plane_options(asked: Asked) -> dict[str, Any]:
    """The values to draw, and the scale of losses."""
    return {"color": None if asked.color is None else parse_names(asked.color), "log": asked.log}


def _draw_clusters(result: Result, figure: Figure, asked: Asked) -> Any:
    from landscape_cli.plots.dendrogram import dendrogram_figure, importance_figure
    from landscape_cli.store.clusters import Clusters

    assert result.path is not None
    clusters = Clusters.open(result.path)
    if figure == "importance":
        return importance_figure(clusters, **asked.size)
    columns = None if asked.color is None else [name for name in parse_names(asked.color) if name != NONE]
    return dendrogram_figure(clusters, columns=columns, **asked.size)


def embedded_of(result: Result, figure: Figure, asked: Asked) -> Any:
    """The embedding, or another view of it, with the models asked for."""
    from landscape_cli.plots.embedded import Embedded
    from landscape_cli.store.embeddings import Embedding

    assert result.path is not None
    assert figure in ("embedding", "aligned", "reading")
    embedded = Embedded.of(Embedding.open(result.path), figure)
    return embedded if asked.where is None else embedded.where(asked.where)


def _table(result: Result, asked: Asked) -> Any:
    """The records as a table, those asked for."""
    import numpy as np

    from landscape_cli.store.tables import Table

    table = Table.from_rows([{k: v for k, v in record.items() if k != "kind"} for record in result.records])
    for name in (*asked.given("x", "y", "color", "line").values(), *asked.group_by):
        try:
            _ = name == NONE or table.column(name)
        except UsageError as error:
            told = f"{error.hint}; 'landscape progress --columns {name}' puts it into the records"
            raise UsageError(error.message, told) from None
    if asked.where is None:
        return table
    rows = np.flatnonzero(table.where(asked.where))
    if not len(rows):
        raise UsageError(f'--where "{asked.where}": none of the {len(table)} records fulfils it')
    return table.take(rows)


def _records(result: Result, asked: Asked) -> list[dict[str, Any]]:
    """The records, those asked for."""
    if asked.where is None:
        return result.records
    from landscape_cli.store.tables import Table

    plain = [{k: v for k, v in record.items() if not isinstance(v, dict | list)} for record in result.records]
    kept = Table.from_rows(plain).where(asked.where)
    if not kept.any():
        raise UsageError(f'--where "{asked.where}": none of the {len(kept)} records fulfils it')
    return [record for record, keep in zip(result.records, kept.tolist(), strict=True) if keep]


def _draw_barriers(result: Result, figure: Figure, asked: Asked) -> Any:
    """Paths, barriers and their means over pairs; of one split, test if there is no other word."""
    from landscape_cli.plots.barrier import barrier_figure, layers_figure

    chosen = _of_one_split(_records(result, asked))
    barriers = [record for record in chosen if record["kind"] == "barrier"]
    if figure == "layers":
        return layers_figure(barriers, **asked.size)
    siblings, summary = _summed(chosen)
    points = [record for record in chosen if record["kind"] == "path-point"]
    return barrier_figure(points, siblings or barriers, summary, **asked.size)


def _draw_against_barrier(result: Result, asked: Asked) -> Any:
    from landscape_cli.plots.against_barrier import against_barrier_figure

    chosen = _records(result, asked)
    barriers = [record for record in chosen if RECORDS[record["kind"]] == "barrier"]
    drawn = [record for record in chosen if record["kind"] in ("kernel-velocity", "linearization")]
    summary = _summed(_of_one_split(barriers))[1] if barriers else []
    return against_barrier_figure(drawn, summary, **asked.size)


def _of_one_split(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those on test images, if there are some, else those of the split that comes first."""
    splits = {record.get("split") for record in records}
    split = "test" if "test" in splits else records[0].get("split")
    return [record for record in records if record.get("split") == split]


def _summed(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of records of one split the barriers between siblings, and their means: as given, else made of them."""
    from landscape_cli.jobs.summaries import barriers_by_spawn_time
    from landscape_cli.plots.pair_distances import at_their_last

    whole = [record for record in records if record["kind"] == "barrier" and "layer" not in record]
    siblings = at_their_last(whole)
    given = [record for record in records if record["kind"] == "barrier-summary"]
    return siblings, given or barriers_by_spawn_time(siblings, split=str(records[0].get("split")))


def _draw_matrix(result: Result, asked: Asked) -> Any:
    """Distances of records, or those that are stored as a matrix."""
    from landscape_cli.plots.comparison_matrices import comparison_matrices_figure
    from landscape_cli.plots.matrices import matrix_figure, stored_matrix_figure

    if result.kind == "comparison":
        return comparison_matrices_figure(_records(result, asked), **asked.size)
    if result.kind != "distances":
        return matrix_figure(_records(result, asked), **asked.size)
    from landscape_cli.store.matrices import Matrix

    assert result.path is not None
    return stored_matrix_figure(Matrix.open(result.path).where(asked.where), **asked.size)


def _draw_models(result: Result, asked: Asked) -> Any:
    """Predictions: what is known of each of their models."""
    from landscape_cli.plots.models import models_figure
    from landscape_cli.store.predictions import Predictions

    assert result.path is not None
    table = Predictions.open(result.path).where(asked.where).table
    return models_figure(table, **asked.given("x", "y", "color", "line", "group_by"), **asked.size)
