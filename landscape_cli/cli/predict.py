"""``landscape predict``: the predictions of many models as one tensor on disk."""

import sys
from pathlib import Path

from landscape_cli.cli import inputs, options
from landscape_cli.cli import predict_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.compute.choices import SplitName, splits_of
from landscape_cli.errors import UsageError
from landscape_cli.jobs.sample_choice import SampleChoice

NAME = "predict"
HELP = """Log-probabilities of many models on the same samples, as one HDF5 file: (model, sample, class).

Models may be of several networks. What the file holds already is not computed again, more models are added to it, and
after a kill the same command goes on. Predictions made elsewhere come in with --from."""
EXAMPLES = (
    "landscape predict runs/* --at all --split both",
    "landscape predict sample_checkpoints/parent@8ep sample_checkpoints/late-a -o test.h5 --dtype float16",
    "landscape predict --from probabilities.npz --labels labels.npy --metadata models.csv -o theirs.h5",
)
COLUMNS = (
    ("path", "path"), ("split", "split"), ("models", "models"), ("added", "added"), ("skipped", "there before"),
    ("samples", "samples"), ("classes", "classes"), ("data", "data"), ("dtype", "type"), ("bytes", "bytes"),
    ("float16_error", "rounding"), ("images", "images"), ("operations", "operations"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints = None,
    at: what.At = None,
    split: what.Split = "test",
    samples: what.Samples = None,
    sample_ids: what.SampleIds = None,
    batch_size: what.BatchSize = None,
    out: what.Out = None,
    dtype: what.DTypeOption = "float32",
    compression: what.CompressionOption = None,
    metadata: what.Metadata = None,
    source: what.From = None,
    array: what.Array = None,
    values: what.ValuesOption = "auto",
    labels: what.Labels = None,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, predict, emit."""
    if samples is not None and sample_ids is not None:
        raise UsageError("--samples and --sample-ids both choose samples", "give one of them")
    if sample_ids is not None and split == "both":
        raise UsageError("--sample-ids are positions in one split", "give --split train or --split test with them")
    choice = SampleChoice(samples, computing.seed, sample_ids)
    outs = output_files(out, splits_of(split))
    output = showing.output(COLUMNS)
    if source is not None:
        if checkpoints or at or described.network or described.data:
            raise UsageError("--from takes predictions as they are: no checkpoints, network or data go with it")
        if len(outs) > 1:
            raise UsageError("predictions of --from are of one split", "say which: --split train or --split test")
        from landscape_cli.jobs.foreign_predictions import ForeignJob, import_predictions

        name, file = next(iter(outs.items()))
        foreign = ForeignJob(
            source, file, array, values, labels, name, choice, dtype, compression, metadata, force=showing.force
        )
        with output.bar(1, "models") as show:
            output.emit(import_predictions(foreign, note=output.note, progress=show, dry_run=dry_run))
        output.finish()
        return
    if array is not None or labels is not None or values != "auto":
        raise UsageError("--array, --labels and --values go with --from", "they describe predictions made elsewhere")
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(given(checkpoints), at)

    from landscape_cli.jobs.predicting import PredictionJob, PredictionRun

    run = PredictionRun(
        subjects,
        PredictionJob(outs, choice, dtype, compression, metadata, batch_size, showing.force),
        computing.placement(),
        network=asked_network,
        data=asked_data,
        note=output.note,
        failed=lambda error: output.take(error, len(subjects)),
    )
    if dry_run:
        records = run.plan()
    else:
        with output.bar(len(subjects), "models") as show:
            records = run.run(show)
    for record in records:
        output.emit(record)
    output.finish(len(subjects), "models")


def given(arguments: list[str] | None) -> list[str]:
    """The arguments; without any, the pipe.

    Raises:
        UsageError: If there is none.
    """
    if arguments:
        return arguments
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no checkpoint is given", "name runs, as in: landscape predict runs/*, or pipe them in")
    return ["-"]


def output_files(out: Path | None, splits: tuple[SplitName, ...]) -> dict[SplitName, Path]:
    """The file of each split: the one named, with the split in its name if there are two."""
    if out is None:
        return {split: Path(f"predictions-{split}.h5") for split in splits}
    if len(splits) == 1:
        return {splits[0]: out}
    return {split: out.with_name(f"{out.stem}-{split}{out.suffix}") for split in splits}
