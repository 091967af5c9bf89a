"""Aligned copies of checkpoints on disk: a run of their own, or one file."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, ConflictError
from landscape_cli.jobs.alignment import Aligned, Aligner, Progress
from landscape_cli.jobs.barriers import same_network
from landscape_cli.jobs.bench import Setup
from landscape_cli.jobs.environment import environment
from landscape_cli.jobs.existing import other_result
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.training import describe_data
from landscape_cli.store.checkpoints import read_header, write_tensors
from landscape_cli.store.locks import exclusive
from landscape_cli.store.runs import CHECKPOINTS, Run, clear, is_run, step_name

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class AlignPlan:
    """An aligned copy to write.

    Args:
        first: A, which stays as it is.
        second: B, of which a copy with its units in another order is written.
        out: A ``.safetensors`` file, or a run directory to make.
        data: The data, if a person names it.
        command: The command line, for the record.
        force: Discard what is in the way.
    """

    first: Subject
    second: Subject
    out: Path
    data: DataSpec | None = None
    command: str = ""
    force: bool = False

    @property
    def one_file(self) -> bool:
        """Whether a file is to be written, and not a run."""
        return self.out.suffix == SUFFIX


def run_align(aligner: Aligner, plan: AlignPlan, progress: Progress | None = None) -> dict[str, Any]:
    """Align, and write the copy; the same alignment again is skipped.

    A run directory takes over what B's run says of network, data, epochs and lineage, so that it can stand wherever B
    can. The permutations go into the metadata of the checkpoint file, beside the step.

    Returns:
        The record of the run or checkpoint.

    Raises:
        CheckpointError: If the two are not of one network, or damaged.
        ConflictError: If something else is in the way.
        NetworkError: If what may be permuted cannot be derived.
    """
    a, b = plan.first.checkpoint, plan.second.checkpoint
    for end in (a, b):
        if plan.out.resolve() in {place.resolve() for place in (*end.files, *([] if end.run is None else [end.run]))}:
            raise ConflictError(f"{plan.out} is {end.label} itself", "choose another --out")
    same_network(a, b)
    setup = aligner.bench.setup((plan.first, plan.second))
    identity = aligner.identity(setup, a, b)
    if (record := _existing(plan, identity)) is not None:
        return record
    aligned = aligner.align(setup, a.tensors(), b.tensors(), (a.label, b.label), progress)
    facts = {"aligned_to": a.label, "aligned_from": b.label, **aligned.facts}
    metadata = {
        "step": b.step,
        "epoch": b.epoch,
        "kind": "weights",
        "alignment": {"identity": identity, "facts": facts, "permutations": aligned.permutations},
    }
    if plan.one_file:
        write_tensors(plan.out, aligned.state, metadata)
        return _file_record(plan, facts, skipped=False)
    return _write_run(aligner, plan, setup, aligned, metadata)


def planned(aligner: Aligner, plan: AlignPlan) -> dict[str, Any]:
    """What an alignment would work on, without matching anything."""
    a, b = plan.first.checkpoint, plan.second.checkpoint
    same_network(a, b)
    setup = aligner.bench.setup((plan.first, plan.second))
    graph = aligner.graph(setup)
    return {
        "kind": "plan",
        "path": str(plan.out),
        "aligned_to": a.label,
        "aligned_from": b.label,
        "method": aligner.settings.method,
        "network": setup.spec.name,
        "groups": len(graph.groups),
        "units": graph.units,
        "fixed": graph.fixed,
        "by_group": {group.name: group.units for group in graph.groups},
    }


def _existing(plan: AlignPlan, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of what is there already, if it is this alignment."""
    if plan.force or not plan.out.exists():
        return None
    if plan.one_file:
        try:
            known = read_header(plan.out).landscape.get("alignment") or {}
        except CheckpointError:
            known = {}
        if not known:
            raise ConflictError(f"{plan.out} exists and is no aligned checkpoint", "choose another --out, or --force")
        if known["identity"] != identity:
            raise other_result(plan.out, "another alignment", known["identity"], identity)
        return _file_record(plan, known["facts"], skipped=True)
    if not is_run(plan.out):
        return None
    run = Run.open(plan.out)
    recorded = (run.document.get("config") or {}).get("alignment")
    if recorded is None:
        raise ConflictError(f"{plan.out} holds another run", "choose another --out, or --force to discard that run")
    if recorded != identity:
        raise other_result(plan.out, "another alignment", recorded, identity)
    return run.record(skipped=True, **run.document["aligned"])


def _file_record(plan: AlignPlan, facts: dict[str, Any], *, skipped: bool) -> dict[str, Any]:
    b = plan.second.checkpoint
    return {
        "kind": "checkpoint",
        "path": str(plan.out),
        "step": b.step,
        "epoch": b.epoch,
        "skipped": skipped,
        **facts,
    }


def _write_run(
    aligner: Aligner, plan: AlignPlan, setup: Setup, aligned: Aligned, metadata: dict[str, Any]
) -> dict[str, Any]:
    b, run = plan.second.checkpoint, plan.second.run
    known = {} if run is None else run.document
    config, step = known.get("config") or {}, b.step or 0
    result = known.get("result") or {}
    alignment = metadata["alignment"]
    facts = {k: v for k, v in alignment["facts"].items() if k != "seconds"}
    document = {
        "kind": "run",
        "status": "aligned",
        "command": plan.command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "aligned": facts,
        "config": {
            "network": config.get("network") or setup.spec.to_json(),
            "data": config.get("data") or (None if plan.data is None else plan.data.absolute().to_json()),
            "hashes": {},
            "alignment": alignment["identity"],
        },
        "network": known.get("network") or {"parameters": sum(p.numel() for p in setup.network.parameters())},
        "data": known.get("data") or describe_data(setup.data),
        "steps_per_epoch": known.get("steps_per_epoch"),
        "lineage": None if run is None else _moved_lineage(run, plan.out),
        "environment": environment(aligner.bench.where),
        # The function is B's, and so are its errors.
        "result": result if result.get("step") == step else {"step": step, "epoch": b.epoch},
        "seconds": alignment["facts"]["seconds"],
    }
    with exclusive(plan.out):
        clear(plan.out)  # refuses a directory of other things
        file = plan.out / CHECKPOINTS / step_name(step)
        digest = write_tensors(file, aligned.state, {**metadata, "step": step})
        document["config"]["hashes"] = {str(step): digest}
        return Run.write(plan.out, document).record(skipped=False, **facts)


def _moved_lineage(run: Run, out: Path) -> dict[str, Any] | None:
    """A run's lineage, its parent as seen from another place."""
    if run.lineage is None or run.parent is None:
        return None
    return {**run.lineage, "parent": os.path.relpath(run.parent.absolute(), out.absolute())}
