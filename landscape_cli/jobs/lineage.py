"""Which runs come from which."""

import json

from landscape_cli.errors import CheckpointError
from landscape_cli.store.runs import Run, is_run


def children_of(run: Run) -> list[Run]:
    """The runs beside this one, in the same folder, that name it as their parent."""
    found = []
    for folder in sorted(run.path.resolve().parent.iterdir()):
        if not is_run(folder):
            continue
        try:
            child = Run.open(run.path.parent / folder.name)
        except CheckpointError:
            continue
        if child.parent is not None and child.parent.resolve() == run.path.resolve():
            found.append(child)
    return found


def beginning_of(run: Run) -> str:
    """Where a run begins, how it trains and in which order it sees the data.

    A linearised run and its partner at the low rate have all of it alike.
    """
    lineage, config = run.lineage or {}, run.document.get("config") or {}
    parent = None if run.parent is None else str(run.parent.resolve())
    return json.dumps([parent, lineage.get("step"), config.get("protocol"), config.get("seeds")], sort_keys=True)
