"""Small results as the commands store them, with numbers that a test can foresee."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.store import trajectories as store
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.embeddings import Embedding, Overlay, ThreeCoordinates
from landscape_cli.store.matrix_writing import MatrixHead
from landscape_cli.store.tables import Table

NETWORKS = ("mlp", "cnn", "vit")
STEPS = (0, 10, 100, 1000)


def model_rows() -> list[dict[str, Any]]:
    """Three networks, two seeds, four checkpoints each; not in order of training."""
    return [
        {
            "key": f"{network}{seed}{step}",
            "name": f"runs/{network}-{seed}@{step}",
            "run": f"runs/{network}-{seed}",
            "step": step,
            "epoch": step / 10,
            "network": network,
            "seed": seed,
            "lr": 0.1 if seed else 0.001,
            "error": 0.9 / (1 + step + seed),
            "reference": "",
            "placed": "embedded",
        }
        for network in NETWORKS
        for seed in (0, 1)
        for step in reversed(STEPS)
    ]


def embedding(dims: int = 4, rows: list[dict[str, Any]] | None = None, **other: Any) -> Embedding:
    """Random coordinates of those models and of ignorance, three points of the geodesic (in no order) and truth."""
    rows = model_rows() if rows is None else rows
    rows = [
        *rows,
        {"name": "ignorance", "reference": "ignorance"},
        *({"name": f"λ={lam}", "reference": "geodesic", "progress": lam} for lam in (0.5, 0.25, 0.75)),
        {"name": "truth", "reference": "truth"},
    ]
    count = len(rows)
    values = np.array([4.0, -1.5, 0.25, 0.0, 0.01, 0.001])[:dims]
    given: dict[str, Any] = {
        "method": "inpca",
        "distance": "bhattacharyya",
        "rows": Table.from_rows(rows),
        "coordinates": np.random.default_rng(5).normal(size=(count, dims)),
        "eigenvalues": values,
        "signature": np.sign(values),
        "explained_stress": np.linspace(0.5, 0.99, dims),
        "residuals": np.zeros(dims),
        "row_means": np.zeros(count),
        "weights": np.ones(count),
        "norm": 4.3, "trace": 2.8, "mean": 1.0, "samples": 10, "classes": 3, "passes": 1, "converged": True,
        "solver": "dense",
    }  # fmt: skip
    return Embedding(**{**given, **other})


def with_views(made: Embedding) -> Embedding:
    """The same with an overlay and a three-coordinate reading."""
    moved = made.coordinates[:, :3] + 1

    def overlay(coordinates: Any) -> Overlay:
        return Overlay("other.h5", coordinates, 0.125, 24, np.eye(3), np.ones(3))

    reading = ThreeCoordinates(
        overlay(moved + 1), made.coordinates[:, :3] + 2, np.array([3.0, -1.0, 0.5]), (0.3, 0.7), 0.05, (4.0, 5.0),
        np.array([0.7, 0.8, 0.9]), np.array([0.6, 0.7, 0.85]),
    )  # fmt: skip
    return replace(made, overlay=overlay(moved), reading=reading)


def progress_records() -> list[dict[str, Any]]:
    """What ``landscape progress --columns all`` says of those models."""
    return [
        {"kind": "progress", "path": "p.h5"}
        | {key: value for key, value in row.items() if key not in ("reference", "placed", "key")}
        | {
            "progress": row["step"] / (row["step"] + 50) + 0.01 * row["seed"],
            "distance_to_geodesic": 0.1 + 0.001 * row["step"] + 0.01 * row["seed"],
            "truth": 1.0, "ignorance": 0.5, "loss": 2.0,
        }
        for row in model_rows()
    ]  # fmt: skip


def barrier_records() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Barriers and paths of two pairs at each of two spawn times, on both splits."""
    barriers = [
        {
            "kind": "barrier", "a": f"a{e}{k}", "b": "b", "split": split, "spawn_epoch": e,
            "error_a": 0.1, "error_b": 0.1, "loss_sup": 1.0, "loss_mid": 1.0, "loss_chord": 1.0,
            "error_sup": 0.5 / (1 + e) + 0.01 * k, "error_mid": 0.1, "error_chord": 0.1,
        }
        for e in (0.0, 2.5)
        for k in (0, 1)
        for split in ("train", "test")
    ]  # fmt: skip
    points = [
        {"kind": "path-point", "a": r["a"], "b": "b", "split": r["split"], "alpha": x, "loss": 1.0}
        | {"error": 0.1 + r["error_sup"] * 4 * x * (1 - x)}
        for r in barriers
        for x in (1, 0.5, 0)
    ]
    return barriers, points


def clusters() -> Clusters:
    """Leaves 2 and 0 join at 1, leaves 1 and 3 at 2, both at 5."""
    rows = [
        {"name": f"runs/{name}", "run": name, "arch": arch, "seed": seed, "loss": 0.1 * n}
        for n, (name, arch, seed) in enumerate(zip("abcd", "xyxz", (0, 1, 1, 0), strict=True))
    ]
    factors = [("arch", 0.7), ("seed", -0.01), ("loss", 0.2)]
    return Clusters(
        linkage=np.array([[0, 2, 1.0, 2], [1, 3, 2.0, 2], [4, 5, 5.0, 4]]),
        order=np.array([2, 0, 3, 1]),
        rows=Table.from_rows(rows),
        importance=Table.from_rows([{"factor": f, "importance": v, "std": 0.1} for f, v in factors]),
        method="complete",
        distance="bhattacharyya",
        cophenetic=0.9,
        explained=np.array([0.8, 0.6]),
    )


def write_trajectories(path: Path, group_by: tuple[str, ...] = ("network",)) -> None:
    """Two runs of each network at three values of progress, which the last run does not reach; means by network."""
    rows = [
        {"key": f"k{n}", "name": f"runs/{network}-{seed}", "network": network, "seed": seed, "reference": ""}
        for n, (network, seed) in enumerate((network, seed) for network in NETWORKS for seed in (0, 1))
    ]
    points = [
        {"row": n, "name": row["name"], "index": index, "step": 100 * index, "runs": 2, "error": 1 - index}
        | {"distance_to_geodesic": 0.1 * n + index, "tube_width": 0.01 * n if group_by else None}
        for n, row in enumerate(rows)
        for index in (0.25, 0.5, 0.75)
        if (n, index) != (5, 0.75)
    ]
    averages = []
    for number, network in enumerate(NETWORKS if group_by else ("all",)):
        for index in (0.25, 0.5, 0.75):
            runs = 1 if (network, index) == ("vit", 0.75) else 2
            found = {"index": index, "runs": runs, "distance_to_geodesic": number + index, "tube_width": 0.02 * number}
            found |= {"distance_to_geodesic_std": 0.125 if runs > 1 else None, "tube_width_std": 0.001}
            averages.append(({"network": network} if group_by else {}) | found)
    table = Table.from_rows(rows)
    distances = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    head = MatrixHead("bhattacharyya", table, table, symmetric=True, samples=10, classes=3, notes={"index": "progress"})
    store.write_trajectories(path, distances, head, points=Table.from_rows(points), averages=Table.from_rows(averages))
