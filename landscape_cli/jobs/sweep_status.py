"""How far the runs of a sweep are, from what lies on disk alone. Knows no torch."""

import contextlib
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape_cli.errors import CheckpointError, DataError, UsageError
from landscape_cli.jobs.sweep_settings import effective
from landscape_cli.jobs.sweeps import SweepRun
from landscape_cli.store.atomic import write_text
from landscape_cli.store.locks import LOCK_NAME, is_held
from landscape_cli.store.metrics import METRICS_NAME, read_metrics
from landscape_cli.store.resume import state_step
from landscape_cli.store.runs import Run, first_step, is_run

SWEEPS = ".sweeps"  # in the folder of the runs; hidden, so that FOLDER/* names runs alone
SCHEMA = 1
STATUSES = ("finished", "running", "interrupted", "diverged", "damaged", "missing")
KEPT = ("finished", "diverged")  # nothing is left to do


@dataclass(frozen=True)
class Progressed:
    """One run of a sweep as it stands.

    Args:
        path: Its directory, there or not.
        status: One of :data:`STATUSES`, or what its ``run.json`` says otherwise (``imported``).
        run: Its description; None if there is none that can be read.
        step: The last step on disk, from its first step on.
        steps: Its length in steps; 0 if it is not known.
        epochs: Its length in epochs; None if it is not known.
        seconds: How long it was trained.
        settings: What the sweep sets of it.
    """

    path: Path
    status: str
    run: Run | None = None
    step: int = 0
    steps: int = 0
    epochs: float | None = None
    seconds: float = 0.0
    settings: Mapping[str, Any] | None = None

    @property
    def progress(self) -> float:
        """The share that is done."""
        if self.status == "finished":
            return 1.0
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def kinds(self) -> list[tuple[Any, ...]]:
        """What it costs goes with: network, data and batch size; the network; nothing. The closest first."""
        if self.run is not None:
            config = self.run.document.get("config") or {}
            network, data = ((config.get(key) or {}) for key in ("network", "data"))
            batch = (config.get("protocol") or {}).get("batch_size")
            name, options, source = network.get("name"), network.get("options"), data.get("source")
        else:
            values = effective(self.settings or {})
            name, batch, source = values["network"], values["batch-size"], values["data"]
            options = dict(values["network-option"]) | ({"width": values["width"]} if values["width"] else {})
        # A path is written in full in a run, and as it was typed in a sweep: the name before it is enough here.
        known = (name, shown_options(options), str(source).partition(":")[0], batch)
        return [known, known[:2], known[:1], ()]


def shown_options(options: Any) -> str:
    """Options of a network, alike whether typed as text or recorded as numbers."""
    return json.dumps({k: re.sub(r"[\[\]() ]", "", str(v)) for k, v in (options or {}).items()}, sort_keys=True)


def look(path: Path, settings: Mapping[str, Any] | None = None) -> Progressed:
    """One run of a sweep, from its directory. A run that says it runs, and whose lock nobody holds, was killed."""
    epochs = None if settings is None else float(effective(settings)["epochs"])
    if not is_run(path):
        return Progressed(path, "missing", epochs=epochs, settings=settings)
    try:
        run = Run.open(path)
        rows = read_metrics(path)
    except CheckpointError:
        return Progressed(path, "damaged", epochs=epochs, settings=settings)
    config = run.document.get("config") or {}
    first, end = first_step(run.lineage), config.get("end") or 0
    step = max([first, *(int(row.get("step", 0)) for row in rows[-1:])])
    if run.rolling_file.exists():
        with contextlib.suppress(CheckpointError):
            step = max(step, state_step(run.rolling_file))
    status, seconds = run.status, float(run.document.get("seconds") or 0.0)
    if status == "running":
        held = is_held(path)
        seconds += _session_seconds(path, held=held)
        status = "running" if held else "interrupted"
    if epochs is None:
        epochs = (end - first) / run.steps_per_epoch if run.steps_per_epoch else None
    return Progressed(path, status, run, step - first, end - first, epochs, seconds, settings)


def _session_seconds(path: Path, *, held: bool) -> float:
    """How long the process has been at work that holds a run, or was until its last record."""
    try:
        began = (path / LOCK_NAME).stat().st_mtime  # written when the lock was taken
        until = time.time() if held else (path / METRICS_NAME).stat().st_mtime
    except OSError:
        return 0.0
    return max(0.0, until - began)


def folder_status(folder: Path) -> list[Progressed]:
    """All runs in a folder, and those that the sweeps run into it have yet to make.

    Raises:
        DataError: If there is no such folder, or it holds neither.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist", "give a folder of runs, or a sweep file")
    asked = {run.name: run.settings for run in recorded_sweeps(folder)}
    found = sorted(child.name for child in folder.iterdir() if is_run(child))
    names = [*asked, *(name for name in found if name not in asked)]
    if not names:
        raise DataError(f"{folder} holds no runs, and no sweep was run into it", "'landscape sweep --help'")
    return [look(folder / name, asked.get(name)) for name in names]


def records(found: Sequence[Progressed]) -> list[dict[str, Any]]:
    """A record for each run: its own one with how far it is and what is left, or its name and what it would be.

    ``seconds_left`` goes by the seconds an epoch took finished runs, of the same network, data and batch size if there
    are some, else of the same network, else of all.
    """
    rates = _rates(found)
    rows = []
    for item in found:
        values = effective(item.settings or {})
        row: dict[str, Any] = {"kind": "missing", "path": str(item.path)}
        row |= {"status": item.status, "network": values["network"], "data": values["data"]}
        if item.run is not None:
            row = item.run.record(status=item.status)
        row |= {"progress": round(item.progress, 6), "seconds": round(item.seconds, 3)}
        rows.append(row | {"seconds_left": _seconds_left(item, rates)})
    return rows


def summary(found: Sequence[Progressed]) -> dict[str, Any]:
    """The counts, the share of all epochs that is done, the seconds of work done and left, and with how many at once.

    ``seconds_left`` is the work of one process, None while no finished run tells what an epoch takes.
    """
    counts = Counter(item.status for item in found)
    epochs = [item.epochs or 0.0 for item in found]
    done = sum(n if item.status in KEPT else n * item.progress for item, n in zip(found, epochs, strict=True))
    rates = _rates(found)
    left = [_seconds_left(item, rates) for item in found]
    known = [seconds for seconds in left if seconds is not None]
    order = [*STATUSES, *(status for status in counts if status not in STATUSES)]
    return {
        "kind": "status",
        "runs": len(found),
        **{status: counts[status] for status in order if counts[status] or status in STATUSES},
        "progress": round(done / sum(epochs), 6) if sum(epochs) else None,
        "seconds": round(sum(item.seconds for item in found), 3),
        "seconds_left": round(sum(known), 3) if len(known) == len(left) else None,
    }


def _rates(found: Iterable[Progressed]) -> dict[tuple[Any, ...], float]:
    """Seconds an epoch of finished runs, by what they are: the median of each kind."""
    seen: dict[tuple[Any, ...], list[float]] = {}
    for item in found:
        if item.status == "finished" and item.epochs and item.seconds > 0:
            for kind in item.kinds:
                seen.setdefault(kind, []).append(item.seconds / item.epochs)
    return {kind: statistics.median(values) for kind, values in seen.items()}


def _seconds_left(item: Progressed, rates: Mapping[tuple[Any, ...], float]) -> float | None:
    if item.status not in ("running", "interrupted", "missing", "damaged"):
        return 0.0
    rate = next((rates[kind] for kind in item.kinds if kind in rates), None)
    if rate is None or item.epochs is None:
        return None
    return round(rate * item.epochs * (1 - item.progress), 3)


def record_sweep(folder: Path, label: str, runs: Sequence[SweepRun]) -> None:
    """Keep beside the runs what a sweep is to make, so that ``landscape status FOLDER`` knows what is missing."""
    document = {"schema": SCHEMA, "file": label, "runs": {run.name: run.settings for run in runs}}
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    path = folder / SWEEPS / f"{Path(label).stem}.json"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def recorded_sweeps(folder: Path) -> list[SweepRun]:
    """The runs that sweeps were to make in a folder.

    Raises:
        DataError: If what was kept of a sweep is damaged.
    """
    found = []
    for path in sorted((folder / SWEEPS).glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            for name, settings in document["runs"].items():
                effective(settings)
                found.append(SweepRun(name, settings))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            hint = f"delete it, or run the sweep again: {error}"
            raise DataError(f"{path} is damaged: it lists no runs", hint) from None
    return found
