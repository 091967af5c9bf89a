"""``landscape inpca``: models as points of a space whose intervals are their distances."""

from pathlib import Path
from typing import Any

from landscape_cli.cli import inpca_options as own
from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.cli.output import Output
from landscape_cli.errors import UsageError

NAME = "inpca"
HELP = """Embed models by their distances in the leading dimensions of a Minkowski space: InPCA, IsKL, geodesic, PCA.

With W = −½ L D L = U Σ Uᵀ, coordinates are U√|Σ|: with all dimensions, sums of ± squares give every distance back. The
explained stress is measured against the whole of W, not against the dimensions computed; what the coordinates explain
of the distances themselves (Eq. 12) stands beside it. W is never formed: distances are read block by block.

Given predictions, distances are computed on the way and not kept: for many models, or to try several embeddings, make
them once with 'landscape distances'. Reference models (ignorance, truth, the geodesic between them) are added after
the models were embedded; --references embedded puts them among the models, as in the figures of Mao et al. (2023),
where they are few among 150,000."""
EXAMPLES = (
    "landscape predict runs/* --split test | landscape distances --truth --ignorance --geodesic 50 | landscape inpca",
    "landscape inpca predictions-train.h5 -k 10 --reading",
    "landscape inpca predictions-train-inpca.h5 --project new.h5 -o with-new.h5",
    "landscape inpca distances.h5 --fit-on \"network == 'resnet20'\" --align all-inpca.h5",
)
COLUMNS = (
    ("file", "embedding"), ("dim", "dimension"), ("eigenvalue", "eigenvalue"), ("sign", "sign"),
    ("explained_stress", "explained stress"), ("explained_pairwise", "explained distances, L2"),
    ("explained_pairwise_l1", "L1"), ("test_explained_pairwise", "of test distances, L2"),
    ("reading_explained_pairwise", "three coordinates, L2"),
    ("path", "plan"), ("models", "models"), ("samples", "samples"), ("solver", "solver"), ("passes", "passes at most"),
    ("bytes", "bytes a pass"), ("operations", "operations"), ("distance_operations", "of distances"),
)  # fmt: skip
PER_DIM = (
    "explained_stress", "explained_pairwise", "explained_pairwise_l1", "test_explained_pairwise",
    "reading_explained_pairwise",
)  # fmt: skip
GEODESIC_POINTS = 50


@grouped
def command(
    files: own.Files = None,
    dims: own.Dims = 10,
    method: own.Method = None,
    weights: own.Weights = None,
    fit_on: own.FitOn = None,
    fit_samples: own.FitSamples = None,
    project: own.Project = None,
    project_test: own.ProjectTest = None,
    align: own.Align = None,
    align_dims: own.AlignDims = 3,
    reading: own.Reading = False,
    near: own.Near = "0.3,0.7",
    sigma: own.Sigma = 0.05,
    predictions: own.Predictions = None,
    truth: own.Truth = None,
    ignorance: own.Ignorance = True,
    geodesic: own.Geodesic = GEODESIC_POINTS,
    label_smoothing: what.LabelSmoothing = 0.0,
    references: own.ReferenceRoles = "added",
    distance: own.Distance = None,
    cap: own.Cap = None,
    project_classes: own.ProjectClasses = None,
    solver: own.Solver = "auto",
    tolerance: own.Tolerance = 1e-8,
    max_passes: own.MaxPasses = 30,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    out: own.Out = None,
    memory: what.Memory = what.MEMORY,
    device: options.Device = "auto",
    threads: options.Threads = None,
    *,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, embed, emit."""
    items = what.piped(files, kinds=("predictions", "distances", "trajectories", "embedding"))
    if out is not None and len(items) > 1:
        raise UsageError(f"{len(items)} embeddings cannot go to one --out", "leave it out: each goes beside its input")
    means = parse_near(near)
    output = showing.output(COLUMNS)

    from landscape_cli.jobs.distances import DistanceSettings
    from landscape_cli.jobs.embedding import EmbeddingSettings, distance_of
    from landscape_cli.jobs.embedding_files import EmbeddingJob, default_out, plan_embedding, run_embedding
    from landscape_cli.jobs.embedding_reading import ReadingSettings
    from landscape_cli.jobs.model_rows import References

    settings = EmbeddingSettings(dims, method, weights, fit_on, references, solver, tolerance, max_passes, seed)
    shown = distance_of(method, distance)
    finite = shown != "skl" or label_smoothing > 0 or cap is not None
    added = References(ignorance, geodesic or None, finite if truth is None else truth, label_smoothing)
    for item in items:
        file = Path(item.path)
        changes = "added" if project or project_test else "aligned" if align else ""
        job = EmbeddingJob(
            file,
            out or default_out(file, distance_of(method, distance), changes),
            settings,
            DistanceSettings(shown, added, cap, project_classes, seed),
            distance,
            where,
            samples,
            fit_samples,
            project,
            project_test,
            predictions,
            align,
            align_dims,
            ReadingSettings(means, sigma) if reading else None,
            memory,
            device,
            threads,
            showing.force,
            options.command_line(),
            output.note,
        )
        if dry_run:
            output.emit(plan_embedding(job))
            continue
        with output.bar(1, f"embedding {file.name}") as progress:
            record = run_embedding(job, progress)
        show(output, record, several=len(items) > 1)
    output.finish()


def parse_near(text: str) -> tuple[float, float]:
    """Two values of progress as a person writes them.

    >>> parse_near("0.2, 0.8")
    (0.2, 0.8)

    Raises:
        UsageError: If they are not two different numbers between 0 and 1.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 2 or not 0 <= found[0] < found[1] <= 1:
        raise UsageError(f"--near {text} is no pair of progress values", "write it as 0.3,0.7")
    return found[0], found[1]


def show(output: Output, record: dict[str, Any], *, several: bool) -> None:
    """One record, or on a terminal one row a dimension, with what else there is to say."""
    if not output.as_table:
        output.emit(record)
        return
    for dim, eigenvalue in enumerate(record["eigenvalues"]):
        row = {"file": record["path"] if several else None, "dim": dim + 1, "eigenvalue": eigenvalue}
        row["sign"] = "+" if eigenvalue > 0 else "−" if eigenvalue < 0 else "0"
        per_dim = {name: record.get(name) or [] for name in PER_DIM}
        output.emit(row | {name: values[dim] for name, values in per_dim.items() if dim < len(values)})
    told = (("added", "models added"), ("references", "references"), ("test", "on test samples"))
    parts = [f"{record['embedded']} embedded", *(f"{record[key]} {name}" for key, name in told if record.get(key))]
    output.note(f"{record['path']}: {', '.join(parts)}; {record['passes']} passes, residual {record['residual']:.1e}")
    if "rmsd" in record:
        output.note(f"RMSD from {record['aligned_to']}: {record['rmsd']:.4g} over {record['aligned_models']} models")
    if "reading_rmsd" in record:
        output.note(f"three coordinates: RMSD from the first three dimensions {record['reading_rmsd']:.4g}")
