"""``landscape kernel-dist``: how far tangent kernels of checkpoints are apart."""

from typing import Any

from landscape_cli.cli import inputs, options
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.prediction_options import Memory
from landscape_cli.errors import InterruptedRunError, LandscapeError, UsageError

NAME = "kernel-dist"
HELP = """Distance between the tangent kernels of checkpoints: two, or all pairs of many.

S = 1 − Tr(K K'ᵀ)/(‖K‖ ‖K'‖), after Fort et al. 2020, who say neither the number of samples nor the form of the kernel:
the default is the full kernel on 500 training samples. Batch norm is in evaluation mode: its running statistics belong
to the checkpoint. Each kernel is computed once; an interrupted job goes on."""
EXAMPLES = (
    "landscape kernel-dist sample_checkpoints/parent@0ep sample_checkpoints/parent@8ep --samples 100",
    "landscape kernel-dist runs/parent --at all --kernel trace --matrix kernels.h5",
    "landscape kernel-dist runs/parent@1ep runs/parent@2ep --by-layer --cka --eigenvalues --save-kernels kernels.h5",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("distance", "kernel distance"), ("cka", "CKA"), ("alignment_a", "label alignment A"),
    ("alignment_b", "label alignment B"), ("effective_rank_a", "rank A"), ("effective_rank_b", "rank B"),
    ("form", "kernel"), ("samples", "samples"), ("layers", "by layer"), ("operations", "operations"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    form: kernel.Form = "full",
    samples: kernel.KernelSamples = 500,
    balanced: kernel.Balanced = False,
    split: kernel.OneSplit = "train",
    by_layer: kernel.ByLayer = False,
    cka: kernel.Cka = False,
    spectrum: kernel.Spectrum = False,
    save_kernels: kernel.SaveKernels = None,
    matrix: what.MatrixOut = None,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    memory: Memory = 2_000_000_000,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    numbers = index_pairs(subjects, pairs)
    product, exact = kernel.products(computing.precision)
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.kernel_files import save_all, save_matrix
    from landscape_cli.jobs.kernels import Kernels, KernelSettings, blocked, kernel_pair, plan_kernels

    settings = KernelSettings(
        form, split, samples, balanced, by_layer, product, memory // 2, cka, spectrum, fresh=showing.force
    )
    sampling = Sampling((split,), None if balanced else samples, None, computing.seed)
    bench = Bench(
        sampling, computing.placement(exact), network=asked_network, data=asked_data, statistics=False, note=output.note
    )
    if dry_run:
        output.emit(plan_kernels(bench, subjects, settings))
        output.finish()
        return
    kernels = Kernels(bench, settings)
    measured: dict[int, Any] = {}
    with output.bar(len(subjects), "kernels") as show:
        for number, subject in enumerate(subjects):
            try:
                measured[number] = kernels.measure(subject)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"stopped at checkpoint {number + 1} of {len(subjects)}; the kernels before it are kept",
                    "the same command continues",
                ) from None
            except LandscapeError as error:
                output.take(error, len(subjects) if len(subjects) > 2 else 1)
            show(number + 1, len(subjects))
    numbers = [(i, j) for i, j in numbers if i in measured and j in measured]
    found: dict[int, dict[str, Any]] = {}
    for number in blocked(numbers, max(1, kernels.room // 2)):
        i, j = numbers[number]
        found[number] = kernel_pair(kernels, measured[i], measured[j])
    for number in range(len(numbers)):
        output.emit(found[number])
    mixed = sum(record["network"] is None for record in found.values())
    if mixed:
        output.note(f"{mixed} of {len(found)} pairs are of different networks: same samples, other parameters")
    if save_kernels is not None:
        save_all(save_kernels, kernels, list(measured.values()), force=showing.force)
        output.note(f"written: {save_kernels}")
    if matrix is not None:
        save_matrix(matrix, list(measured.values()), list(measured), numbers, found, force=showing.force)
        output.note(f"written: {matrix}")
    kernels.forget(list(measured.values()))
    output.finish(len(subjects), "checkpoints")


def index_pairs(subjects: list[Any], pairs: Any) -> list[tuple[int, int]]:
    """The pairs as numbers of subjects: two are a pair, of more all are, unless said otherwise.

    Raises:
        UsageError: If there is no pair.
    """
    from landscape_cli.jobs.pairs import pair, two_or_all

    if len(subjects) < 2:
        label = subjects[0].checkpoint.label if subjects else "nothing"
        raise UsageError(f"{label} alone is no pair", "give two checkpoints, or --at all for every time of a run")
    place = {id(subject): number for number, subject in enumerate(subjects)}
    chosen = pair(subjects, pairs or two_or_all(subjects))
    return [(place[id(a)], place[id(b)]) for a, b in chosen]
