"""``landscape demo``: the central finding of Fort et al. 2020 on embedded real data, in about a minute."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import options
from landscape_cli.cli import protocol_options as how
from landscape_cli.cli.output import Output, bars
from landscape_cli.cli.report import make_report
from landscape_cli.cli.report_steps import Ledger
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.report_cast import cast_of
from landscape_cli.jobs.report_plan import plan_report
from landscape_cli.jobs.report_step import Settings
from landscape_cli.store.runs import is_run

NAME = "demo"
HELP = """See the central finding of Fort et al. 2020 with your own eyes, on handwritten digits, in a minute or two.

Trains three parents, spawns two children from each at five times, and measures the error barrier between the two:
children spawned early end in different basins, children spawned late in the same one. Ends with a page of it, and of
the tangent kernels and predictions on the way, as 'landscape report' makes it. Interrupted, it goes on."""
EXAMPLES = ("landscape demo", "landscape demo --out basins --parents 6 --jobs 4")
COLUMNS = (
    ("spawn_epoch", "spawned at epoch"), ("pairs", "pairs"), ("error_sup_mean", "error barrier, mean"),
    ("error_sup_std", "s.d."), ("error_sup_min", "least"), ("error_sup_max", "largest"), ("bar", ""),
    ("error_ends", "children's own error"), ("loss_sup_mean", "loss barrier, mean"),
)  # fmt: skip


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the demonstration.")] = Path("landscape-demo"),
    parents: Annotated[int, typer.Option(min=1, help="Parents, each with two children a time.")] = 3,
    jobs: how.Jobs = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
) -> None:
    """Train, spawn, measure, draw, emit."""
    output = Output(format, quiet, not no_progress, COLUMNS)
    begun = time.monotonic()

    from landscape_cli.jobs import demonstration as study
    from landscape_cli.jobs.spawning import child_jobs, with_origin
    from landscape_cli.jobs.summaries import barriers_by_spawn_time
    from landscape_cli.jobs.training import TrainJob
    from landscape_cli.plots.barrier import barrier_figure
    from landscape_cli.plots.style import available, save
    from landscape_cli.scale.executors import at_once
    from landscape_cli.scale.together import train_all

    def made(work: list[TrainJob], what: str) -> list[str]:
        paths = []
        with output.batch(len(work), what) as show:
            for _, result in train_all(work, at_once=at_once(len(work), jobs, "cpu"), progress=show):
                if isinstance(result, LandscapeError):
                    output.warn(result)  # one diverged child more or less: its pair is left out
                else:
                    paths.append(str(result["path"]))
        return paths

    folders = [out / "runs" / f"parent{number}" for number in range(parents)]
    output.note(f"1. {parents} parents, as by: {study.train_command(folders[0], 0)}")
    made([study.parent_job(folder, seed, force=force) for seed, folder in enumerate(folders)], "parents")

    output.note(f"2. children of each, as by: {study.spawn_command(folders[0])}")
    plans = [study.spawn_plan(folder, force=force) for folder in folders]
    children = made([with_origin(plan, job) for plan in plans for job in child_jobs(plan)], "children")

    folder = out / "report"
    settings = Settings(kernel_samples=30, without=frozenset(("compare", "velocity", "trajectories", "clusters")))
    command = f"landscape report {out / 'runs'} --out {folder} --kernel-samples 30 --without "
    command += ",".join(sorted(settings.without))
    output.note(f"3. barriers, tangent kernels, predictions, as by: {command}")
    cast = cast_of([path for path in [*folders, *map(Path, children)] if is_run(path)])
    plan = plan_report(cast, folder, settings)
    ledger = Ledger(folder, forget=force)
    page = make_report(output, folder, cast, plan, settings, ledger, title="Where basins are decided", command=command)
    told = str(page["path"])
    if not (folder / "barriers.jsonl").exists():
        raise LandscapeError("the barriers could not be measured", "the error above says why")
    records = [json.loads(line) for line in (folder / "barriers.jsonl").read_text(encoding="utf-8").splitlines()]
    records = [record for record in records if record["kind"] == "barrier"]
    points = [json.loads(line) for line in (folder / "paths.jsonl").read_text(encoding="utf-8").splitlines()]

    summary = barriers_by_spawn_time(records)
    for row, bar in zip(summary, bars([row["error_sup_mean"] for row in summary]), strict=True):
        output.emit({**row, "bar": bar} if output.as_table else row)
    output.finish()
    early, late = summary[0], summary[-1]
    output.note(
        f"Children spawned at epoch {early['spawn_epoch']:g} are separated by a barrier of "
        f"{100 * early['error_sup_mean']:.0f} points of test error; spawned at epoch {late['spawn_epoch']:g}, by "
        f"{100 * late['error_sup_mean']:.2g}: their basin was decided in between."
    )
    if available():
        save(barrier_figure(points, records, summary), out / "barrier.png")
        output.note(f"picture: {out / 'barrier.png'}; the page of all of it: {told}")
    else:
        output.note("for the picture: pip install 'landscape-cli[plot]', then the same command")
    output.note(f"{time.monotonic() - begun:.0f} s; everything is in {out}, and 'landscape info {out}/runs' lists it")
    if quiet:
        output.emit({"path": str(out)})
