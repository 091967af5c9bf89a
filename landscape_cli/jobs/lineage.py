"""Which runs come from which."""

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
