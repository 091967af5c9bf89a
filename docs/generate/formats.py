"""The page of files: runs and HDF5 files with every attribute and array, read off real ones and the store's words."""

import importlib
import json
from pathlib import Path
from typing import Any

from docs.generate.docstrings import parse
from docs.generate.meanings import meaning

HEAD = """# Files

Everything that is written to disk. All files are written under a temporary name, flushed and renamed: a reader sees the
old file or the new one. Attributes, arrays and columns below are read off real files.
"""
RUN = """## A run

```text
runs/NAME/
  run.json                                 what made it
  checkpoints/step-00000012.safetensors    weights and buffers
  resume/step-00000012.safetensors         optimiser state and position
  metrics.jsonl                            a line per recorded step
  points/                                  of a curve only: networks along it, by t
  .lock                                    held by the process that writes; the empty file stays
```
"""
CHECKPOINT = """### checkpoints/*.safetensors

Plain [safetensors](https://huggingface.co/docs/safetensors), any tool reads them: weights and buffers by the names of
the network's state. One metadata key, `landscape`, holds sorted JSON:
"""
RESUME = """### resume/*.safetensors

The same format: optimiser slots as `optimizer/PARAMETER/SLOT` (`momentum_buffer`; `exp_avg`, `exp_avg_sq`, `step`); the
rolling state of an interrupted run holds the network as `network/NAME` too. Random streams need no state: each is a
function of its purpose, seed and position.
"""
HDF5 = """## HDF5 files

Tables are groups with a dataset a column: numbers, or texts; NaN or the empty text stands for what is missing. The
attribute `order` of the group names them in order. Columns that say how a model came about are those of its run:
`network`, `optimizer`, `lr`, `seed`, …, and your own.
"""
FILES = (
    ("test.h5", "Predictions", ("store.predictions", "store.prediction_format")),
    ("distances.h5", "Distances", ("store.matrices", "store.tiles")),
    ("kernels.h5", "Kernels", ("store.kernels",)),
    ("embedding.h5", "Embeddings", ("store.embeddings",)),
    ("trajectories.h5", "Trajectories", ("store.trajectories",)),
    ("clusters.h5", "Clusters", ("store.clusters",)),
    ("plane.h5", "Planes", ("store.planes",)),
)
TABLES = {"models", "rows", "cols", "points", "averages", "corners", "trajectories", "importance"}
SCALES = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}


def page(folder: Path) -> str:
    """The page as Markdown, from a folder of specimens."""
    child = folder / "runs" / "child-a"
    document = json.loads((child / "run.json").read_text(encoding="utf-8"))
    metrics = json.loads((child / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    parts = [HEAD, RUN, "### run.json\n", *_table(document, "run-json"), ""]
    parts += ["Inside `config`:\n", *_tree(document["config"]), ""]
    parts += ["Inside `lineage` (of a child):\n", *_tree(document["lineage"]), ""]
    parts += ["### metrics.jsonl\n", *_table(metrics, ""), ""]
    parts += [CHECKPOINT, *_table(_metadata(child), ""), "", RESUME]
    parts.append(HDF5)
    for name, title, modules in FILES:
        parts += [f"### {title}\n", *_words(modules), *_file(folder / name), ""]
    return "\n".join(parts)


def _metadata(run: Path) -> dict[str, Any]:
    from landscape_cli.store.checkpoints import read_header

    return read_header(sorted((run / "checkpoints").iterdir())[-1]).landscape


def _words(modules: tuple[str, ...]) -> list[str]:
    """What the store's modules say of their files, without their first lines."""
    lines = []
    for path in modules:
        lines += [f"{text}\n" for text in parse(importlib.import_module(f"landscape_cli.{path}")).text]
    return lines


def _table(entries: dict[str, Any], kind: str) -> list[str]:
    return ["| entry | |", "|---|---|", *(f"| `{name}` | {meaning(name, kind)} |" for name in entries)]


def _tree(document: dict[str, Any]) -> list[str]:
    """The names in a document, one level deep."""
    lines = []
    for name, value in document.items():
        inner = f": {', '.join(f'`{key}`' for key in value)}" if isinstance(value, dict) and value else ""
        lines.append(f"- `{name}`{inner}")
    return lines


def _file(path: Path) -> list[str]:
    import h5py

    lines = ["| attribute | |", "|---|---|"]
    with h5py.File(path) as file:
        lines += [f"| `{name}` | {meaning(name)} |" for name in file.attrs]
        lines += ["", "| array | type | axes | |", "|---|---|---|---|"]
        tables: dict[str, list[str]] = {}
        axes = _axes(file)
        for name, array in _arrays(file):
            group, _, column = name.rpartition("/")
            if group in TABLES:
                tables.setdefault(group, []).append(column)
            else:
                lines.append(f"| `{name}` | {_dtype(array)} | {axes(array)} | {meaning(column)} |")
        lines.append("")
        for group, columns in tables.items():
            ordered = [str(name) for name in file[group].attrs["order"]]
            named = ", ".join(f"`{name}`" for name in ordered if name in columns)
            lines.append(f"Table `{group}`: {named}.\n")
    return lines


def _arrays(file: Any) -> list[tuple[str, Any]]:
    """All datasets of a file by name."""
    import h5py

    found: list[tuple[str, Any]] = []
    file.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return found


def _axes(file: Any) -> Any:
    """How the axes of an array are called: by its dimension scales, else by how long they are."""

    def told(array: Any) -> str:
        names = [dimension[0].name.strip("/") if len(dimension) else "" for dimension in array.dims]
        return ", ".join(name or "·" for name in names)

    return told


def _dtype(array: Any) -> str:
    return "text" if array.dtype == object else str(array.dtype)


def names(folder: Path) -> list[tuple[str, str]]:
    """Every attribute and array of the specimens' files that a reader may ask about."""
    import h5py

    found: list[tuple[str, str]] = []
    for name, _, _ in FILES:
        with h5py.File(folder / name) as file:
            found += [("", attribute) for attribute in file.attrs]
            found += [("", path.rpartition("/")[2]) for path, _ in _arrays(file)]
    return found
