"""The runs of a sweep as training jobs: made, checked before anything starts, found finished, run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape_cli.compute.training.presets import preset
from landscape_cli.compute.training.protocol import Protocol, Seeds, parse_init
from landscape_cli.compute.training.recording import recorded_steps
from landscape_cli.compute.training.schedules import total_steps
from landscape_cli.datasets import DataSet
from landscape_cli.datasets.registry import DataSpec
from landscape_cli.errors import DataError, DivergedError, InterruptedRunError, LandscapeError, UsageError
from landscape_cli.jobs.beginnings import beginning_entries, without_places
from landscape_cli.jobs.subjects import load_data
from landscape_cli.jobs.sweep_settings import SETTINGS, Room, effective
from landscape_cli.jobs.sweeps import SweepRun
from landscape_cli.jobs.training import EVALUATED, TrainJob, configuration, run_training
from landscape_cli.jobs.training_loop import Progress
from landscape_cli.networks.registry import NetworkSpec, check_name, resolve
from landscape_cli.store.runs import Run, first_difference, is_run


@dataclass(frozen=True)
class Outline:
    """What is known of a job before it starts.

    Args:
        data: What its data is called.
        steps_per_epoch: Steps an epoch.
        steps: Steps in all.
        checkpoints: Recorded points.
        evaluated: Samples evaluated at each of them.
        settled: Its run, if it is there, made by the same configuration, and finished or diverged.
    """

    data: str
    steps_per_epoch: int
    steps: int
    checkpoints: int
    evaluated: int
    settled: Run | None


def train_job(
    run: SweepRun,
    folder: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    command: str = "",
    force: bool = False,
) -> TrainJob:
    """The job of a run: what ``landscape train`` would do with the same settings.

    Raises:
        UsageError: If network or data are missing, or the settings do not fit each other; the run is named.
    """
    values = effective(run.settings)
    for name in ("network", "data"):
        if values[name] is None:
            raise UsageError(f"{run.name}: {name} is missing", f"give it in the sweep file or with --set {name}=…")
    options = dict(values["network-option"])
    if values["width"] is not None:
        options["width"] = values["width"]
    chosen = preset(values["preset"]) if values["preset"] is not None else None
    seeds = {stream: values[f"{stream}-seed"] for stream in ("init", "order", "augment", "dropout")}
    try:
        protocol = Protocol(**_fields("protocol", values, without=("preset",)))
        data = DataSpec(**_fields("data", values))
        parse_init(values["init"])
    except UsageError as error:
        raise UsageError(f"{run.name}: {error.message}", "change the sweep file; 'landscape train --help'") from None
    return TrainJob(
        out=folder / run.name,
        network=NetworkSpec(values["network"], options),
        data=data,
        protocol=protocol,
        seeds=Seeds(**{name: values["seed"] if own is None else own for name, own in seeds.items()}),
        **_fields("job", values),
        device=device,
        threads=threads,
        classes=chosen.classes if chosen else None,
        command=command,
        force=force,
    )


def _fields(room: Room, values: dict[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    found = [setting for setting in SETTINGS.values() if setting.room == room and setting.name not in without]
    return {setting.field: values[setting.name] for setting in found}


def survey(jobs: Sequence[TrainJob]) -> list[Outline | LandscapeError]:
    """What each job comes to, or why it cannot start; nothing is trained or written.

    Cost: each data set is loaded once; no network is built.
    """
    found: dict[int, Outline | LandscapeError] = {}
    by_data: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        by_data.setdefault(json.dumps(job.data.to_json(), sort_keys=True, default=str), []).append(number)
    networks: dict[str, LandscapeError | None] = {}
    for numbers in by_data.values():
        try:
            data: DataSet | LandscapeError = load_data(jobs[numbers[0]].data)
        except LandscapeError as error:
            data = error
        for number in numbers:
            job = jobs[number]
            key = str(job.network)
            if key not in networks:
                networks[key] = _network_problem(job.network)
            problem = networks[key]
            if isinstance(data, LandscapeError):
                found[number] = problem or data
            elif problem is not None:
                found[number] = problem
            else:
                try:
                    found[number] = _outline(job, data)
                except LandscapeError as error:
                    found[number] = error
    return [found[number] for number in range(len(jobs))]


def _network_problem(spec: NetworkSpec) -> LandscapeError | None:
    try:
        check_name(spec.name)
        resolve(spec)
    except LandscapeError as error:
        return error
    return None


def _outline(job: TrainJob, data: DataSet) -> Outline:
    if job.classes not in (None, data.classes):
        raise DataError(
            f"the preset is for {job.classes} classes, but {data.name} has {data.classes}",
            "leave these two out together with [[exclude]], or give the protocol without preset",
        )
    steps_per_epoch = job.protocol.steps_per_epoch(len(data.train))
    end = total_steps(job.protocol, steps_per_epoch)
    beginning_entries(job.init, job.init_from, job.out)  # missing weights are told before anything starts
    points = recorded_steps(job.record, steps_per_epoch=steps_per_epoch, start=0, end=end)
    evaluated = min(len(data.train), job.evaluate or max(EVALUATED, len(data.test)))
    return Outline(
        data=data.name,
        steps_per_epoch=steps_per_epoch,
        steps=end,
        checkpoints=len(points),
        evaluated=evaluated + len(data.test) + sum(map(len, data.probes.values())),
        settled=_settled(job, data, end, evaluated),
    )


def _settled(job: TrainJob, data: DataSet, end: int, evaluated: int) -> Run | None:
    """The job's run if nothing is left to do. In doubt there is: :func:`run_training` then says what differs."""
    if job.force or not is_run(job.out):
        return None
    run = Run.open(job.out)
    if run.status not in ("finished", "diverged") or run.lineage is not None:
        return None
    recorded = dict(run.document.get("config") or {})
    wanted = json.loads(json.dumps(configuration(job, data, end, evaluated)))
    recorded["fingerprint"] = (run.document.get("data") or {}).get("fingerprint")
    wanted["fingerprint"] = data.fingerprint
    return run if first_difference(without_places(recorded), without_places(wanted)) is None else None


def run_one(job: TrainJob, progress: Progress | None = None) -> dict[str, Any]:
    """Train one run of a sweep; one that diverges is kept as such, and no failure.

    Returns:
        The run's record.

    Raises:
        InterruptedRunError: If a signal asked to stop; the same job continues later.
        LandscapeError: If the run fails; the message names it.
    """
    try:
        return run_training(job, progress)
    except InterruptedRunError:
        raise
    except LandscapeError as error:
        found = kept_as_it_is(job, error)
        if isinstance(found, LandscapeError):
            raise found from error
        return found


def kept_as_it_is(job: TrainJob, error: LandscapeError) -> dict[str, Any] | LandscapeError:
    """What an error means for one run of many: the record of a run that diverged, or the failure with its name."""
    if isinstance(error, DivergedError):
        return Run.open(job.out).record(skipped=False)
    return named(error, job)


def named(error: LandscapeError, job: TrainJob) -> LandscapeError:
    """The error of one run of many: it names the run, and the others go on."""
    message = error.message if str(job.out) in error.message else f"{job.out}: {error.message}"
    kind = LandscapeError if isinstance(error, UsageError) else type(error)
    return kind(message, error.hint)
