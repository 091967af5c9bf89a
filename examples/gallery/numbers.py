"""What captions quote: for each script a function from the folder it worked in to numbers, and to what they must show.

Numbers are as the result files have them: errors as shares, distances in their own units. Their units and rounding are
given where they are quoted (``rendering.py``). What a caption says in words is a claim here: true of the results, or no
gallery is made.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.stats import spearmanr

Facts = tuple[dict[str, float | str], dict[str, bool]]
Records = list[dict[str, Any]]


def records(file: Path) -> Records:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def means(rows: Iterable[dict[str, Any]], by: str, value: str) -> dict[Any, float]:
    """The mean of an entry for each value of another, in ascending order of that."""
    found: dict[Any, list[float]] = {}
    for row in rows:
        if row.get(value) is not None:
            found.setdefault(row[by], []).append(float(row[value]))
    return {key: statistics.fmean(values) for key, values in sorted(found.items())}


def falls(values: Sequence[float]) -> bool:
    return all(after < before for before, after in pairwise(values))


def demo(folder: Path) -> Facts:
    walls = means(records(folder / "demo/report/barriers.jsonl"), "spawn_epoch", "error_sup")
    return {
        "runs": sum(1 for _ in (folder / "demo/runs").rglob("run.json")),
        **{f"wall_{epoch:g}": wall for epoch, wall in walls.items()},
    }, {"two that leave at epoch 8 end in the same basin": walls[8] < 0.01 < 0.3 < walls[0]}


def fort2020_fig2(folder: Path) -> Facts:
    parent = records(folder / "fort/parent/metrics.jsonl")[-1]
    walls = means(records(folder / "barriers.jsonl"), "spawn_epoch", "error_sup")
    compared = records(folder / "compared.jsonl")
    apart = {
        name: list(means(compared, "spawn_epoch", name).values())
        for name in ("weight_distance", "relu_distance", "kernel_distance", "gradient_distance")
    }
    return {
        "parent_error": parent["test_error"],
        **{f"wall_{epoch:g}": wall for epoch, wall in walls.items()},
    }, {
        "weights, patterns, kernels, centroids: the later the spawning, the nearer": all(map(falls, apart.values())),
        "the barrier at epoch 0 is by far the highest": walls[0] > 5 * max(w for e, w in walls.items() if e > 0),
    }


def fort2020_fig5(folder: Path) -> Facts:
    early, late = (records(folder / f"plane-{at}.jsonl")[0] for at in ("0ep", "4ep"))
    ends = {
        f"{kind}_{name}": statistics.fmean(plane[f"{entry}_{end}"] for end in "bc")
        for name, plane in (("early", early), ("late", late))
        for kind, entry in (("children", "error"), ("linear", "linearized_error"))
    }
    return ends, {
        "linearised at epoch 0, both children's places are bad ones": ends["linear_early"] > 0.5,
        "linearised at epoch 4, they are good ones": ends["linear_late"] < 0.1,
    }


def fort2020_fig7(folder: Path) -> Facts:
    rows = sorted(records(folder / "velocity.jsonl"), key=lambda row: row["epoch"])
    fastest = max(row["velocity"] for row in rows)
    slow = [row["epoch"] for row in rows if all(later["velocity"] < fastest / 2 for later in rows[rows.index(row) :])]
    walls = {row["epoch"]: row["error_barrier"] for row in rows if row.get("error_barrier") is not None}
    flat = [epoch for epoch in walls if all(wall < 0.02 for at, wall in walls.items() if at >= epoch)]
    return {
        "fastest": fastest,
        "last": rows[-1]["velocity"],
        "slow_from": slow[0],
        "flat_from": flat[0],
        "wall_then": walls[flat[0]],
        "ranks": _ranks(walls, {row["epoch"]: row["velocity"] for row in rows}),
    }, {"the barrier is gone before the kernel slows down": flat[0] < slow[0]}


def _ranks(first: dict[float, float], second: dict[float, float]) -> float:
    """Rank correlation over the epochs that both have."""
    shared = sorted(first.keys() & second.keys())
    return float(spearmanr([first[epoch] for epoch in shared], [second[epoch] for epoch in shared]).statistic)


def fort2020_fig8(folder: Path) -> Facts:
    first, *_, last = rows = records(folder / "linearized.jsonl")
    second = records(folder / "order2.jsonl")
    solved = records(folder / "regression.jsonl")
    walls = means(records(folder / "barriers.jsonl"), "spawn_epoch", "error_sup")
    return {
        "linear_first": first["test_error"],
        "linear_last": last["test_error"],
        "low_lr_best": min(row["low_lr_test_error"] for row in rows),
        "low_lr_worst": max(row["low_lr_test_error"] for row in rows),
        "advantage_first": first["advantage"],
        "advantage_last": last["advantage"],
        "ranks": _ranks(walls, {row["spawn_epoch"]: row["advantage"] for row in rows}),
        "order2_first": second[0]["test_error"],
        "regression_first": solved[0]["kernel_test_error"],
        "regression_last": solved[-1]["kernel_test_error"],
    }, {
        "the nonlinear advantage is largest at epoch 0": first["advantage"] == max(row["advantage"] for row in rows),
        "at the end it is gone, within an error of the test set": abs(last["advantage"]) < 0.01,
    }


def _apart_in_map(file: Path, spawn_epoch: float) -> float:
    """How far the ends of children are from their parent's end in a map: the nearest."""
    with h5py.File(file) as content:
        spawned, epochs = content["rows/spawn_epoch"][:], content["rows/epoch"][:]
        places = content["coordinates"][:]
    last = epochs == epochs.max()
    parent = places[last & np.isnan(spawned)]
    return float(np.linalg.norm(places[last & (spawned == spawn_epoch)] - parent, axis=1).min())


def fort2020_fig10(folder: Path) -> Facts:
    compared = records(folder / "functions.jsonl")
    walls = means(compared, "spawn_epoch", "error_barrier")
    apart = means(compared, "spawn_epoch", "function_distance")
    flat = {epoch: apart[epoch] for epoch, wall in walls.items() if wall < 0.01}
    most = max(flat, key=flat.__getitem__)
    near = {at: _apart_in_map(folder / "family-tsne.h5", at) for at in (0, 1, 8)}
    return {"most_at": most, "wall_most": walls[most], "apart_most": flat[most]}, {
        "children with hardly a barrier between them still answer differently": flat[most] > 0.2,
        "in the map children of epoch 8 end beside their parent, the others do not": near[8]
        < min(near[0], near[1]) / 2,
    }


def fort2020_curvature(folder: Path) -> Facts:
    curved = sorted(records(folder / "hessian.jsonl"), key=lambda row: row["epoch"])
    steps = sorted(records(folder / "escape.jsonl"), key=lambda row: row["epoch"])
    inside = [row["epoch"] for n, row in enumerate(steps) if all(later["escape"] < 0 for later in steps[n:])]
    return {
        "images": curved[0]["samples"],
        "sharpest": curved[0]["lambda_max"],
        "fall": curved[0]["lambda_max"] / curved[-1]["lambda_max"],
        "overlap_first": curved[0]["overlap"],
        "overlap_last": curved[-1]["overlap"],
        "gradient_times": sum(row["gradient_overlap"] > 0.5 for row in curved),
        "times": len(curved),
        "inside_from": inside[0],
    }, {}


def report(folder: Path) -> Facts:
    walls = means(records(folder / "report/barriers.jsonl"), "spawn_epoch", "error_sup")
    return {
        "children": sum(1 for _ in (folder / "fort").glob("*-child*/run.json")),
        "linear_runs": sum(1 for _ in (folder / "linearized").glob("*/run.json")),
        "wall_4": walls[4],
    }, {"the wall is gone when children leave at epoch 4": walls[4] < 0.01}


def mao2023_fig2(folder: Path) -> Facts:
    train, test = (records(folder / f"{split}.jsonl")[0] for split in ("train", "test"))
    return {
        "models": train["models"],
        "stress_train": train["explained_stress"][2],
        "stress_test": test["explained_stress"][2],
    }, {"the third dimension is imaginary": train["eigenvalues"][2] < 0 < min(train["eigenvalues"][:2])}


def _half_way(rows: Records) -> dict[str, float]:
    """The mean over runs of the first epoch with half the progress, by network."""
    first: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["progress"] >= 0.5:
            key = (row["network"], row["run"])
            first[key] = min(first.get(key, np.inf), row["epoch"])
    return means(({"network": network, "epoch": at} for (network, _), at in first.items()), "network", "epoch")


def mao2023_fig4(folder: Path) -> Facts:
    rows = records(folder / "progress-train.jsonl")
    off = {run: [row for row in rows if row["run"] == run] for run in {row["run"] for row in rows}}
    bulge = {
        run: max(row["distance_to_geodesic"] for row in of if 0.2 < row["progress"] < 0.8) for run, of in off.items()
    }
    ends = {run: of[-1]["distance_to_geodesic"] for run, of in off.items()}
    half = _half_way(rows)
    order = sorted(half, key=half.__getitem__)
    errors = means((row for row in rows if 0.05 < row["error"] < 0.15), "network", "progress")
    return {
        "bulge": statistics.median(bulge.values()),
        "end": statistics.median(ends.values()),
        "first": order[0],
        "last": order[-1],
        "half_first": half[order[0]],
        "half_last": half[order[-1]],
        "same_error_most": max(errors, key=errors.__getitem__),
        "same_error_least": min(errors, key=errors.__getitem__),
        "progress_most": max(errors.values()),
        "progress_least": min(errors.values()),
    }, {"every training bulges away from the geodesic": all(bulge[run] > 1.2 * ends[run] for run in bulge)}


def mao2023_fig6(folder: Path) -> Facts:
    both, few = (records(folder / f"{name}.jsonl")[0] for name in ("both", "few"))
    return {
        "train_10": both["explained_pairwise"][9],
        "test_10": both["test_explained_pairwise"][9],
        "few_10": few["explained_pairwise"][9],
        "rmsd": few["rmsd"],
    }, {"test models keep their distances nearly as well": both["test_explained_pairwise"][9] > 0.85}


def _one_cluster(file: Path, network: str) -> bool:
    """Whether a node of the dendrogram holds the trainings of a network, all and no other."""
    with h5py.File(file) as content:
        of = [name.decode() for name in content["rows/network"][:]]
        linkage = np.asarray(content["linkage"])
    members = [frozenset([n]) for n in range(len(of))]
    for left, right, *_ in linkage:
        members.append(members[int(left)] | members[int(right)])
    return frozenset(n for n, name in enumerate(of) if name == network) in members


def mao2023_fig7(folder: Path) -> Facts:
    found = records(folder / "clusters-train.jsonl")[0]
    with h5py.File(folder / "trajectories-train.h5") as content:
        networks = [name.decode() for name in content["averages/network"][:]]
        widths = content["averages/tube_width"][:]
    rows = [{"network": n, "width": float(w)} for n, w in zip(networks, widths, strict=True) if np.isfinite(w)]
    tubes = means(rows, "network", "width")
    widest = max(tubes, key=tubes.__getitem__)
    with h5py.File(folder / "trajectories-train.h5") as content:
        of_run = np.asarray([name.decode() for name in content["cols/network"][:]])
        apart = content["values"][:]
    own = of_run == "simple-cnn"
    among = apart[np.ix_(own, own)].sum() / (own.sum() * (own.sum() - 1))
    to_others = apart[np.ix_(own, ~own)].mean()
    return {
        "among_cnns": float(among),
        "to_others": float(to_others),
        "network": found["importance"]["network"],
        "optimizer": found["importance"]["optimizer"],
        "explained": found["explained"],
        "widest": widest,
        "width": tubes[widest],
        "width_next": sorted(tubes.values())[-2],
    }, {
        "simple-cnns are farther from each other than from the others": bool(among > to_others),
    } | {
        f"{network} {'is' if one else 'is not'} one cluster, by predictions on {split} images": (
            _one_cluster(folder / f"clusters-{split}.h5", network) == one
        )
        for network, one in (("mlp", True), ("wrn-10-1", True), ("simple-cnn", False))
        for split in ("train", "test")
    }


def mao2023_fig10(folder: Path) -> Facts:
    rows = records(folder / "beginnings-train-progress.jsonl")
    second = [row for row in rows if row["stage"] == "then true labels"]
    begins = [row["ignorance"] for row in second if row["step"] == 0]
    nearest = means(second, "run", "ignorance")
    nearest = {run: min(row["ignorance"] for row in second if row["run"] == run) for run in nearest}
    embedded = records(folder / "beginnings-train.jsonl")[0]
    return {
        "begin": statistics.fmean(begins),
        "nearest": min(nearest.values()),
        "stress": embedded["explained_stress"][2],
        "stress_test": records(folder / "beginnings-test.jsonl")[0]["explained_stress"][2],
    }, {"none passes ignorance": min(nearest.values()) > 0.1}


def mao2023_fig11(folder: Path) -> Facts:
    made = records(folder / "reading.jsonl")[0]
    with h5py.File(folder / "reading.h5") as content:
        own = float(content["reading/explained_l2"][2])
        rmsd = float(content["reading/overlay"].attrs["rmsd"])
    return {
        "models": made["models"],
        "reading": own,
        "full": made["explained_pairwise"][2],
        "rmsd": rmsd,
    }, {}


def mao2023_appendix_d(folder: Path) -> Facts:
    stress = {name: records(folder / f"{name}.jsonl")[0]["explained_stress"][2] for name in ("iskl", "geodesic", "pca")}
    rows = records(folder / "means.jsonl")[0]["centroids"]
    errors = means(records(folder / "members.jsonl"), "network", "error")
    progress = {(row["network"], row["centroid"]): row["progress"] for row in rows}
    best = {network: max((p, kind) for (of, kind), p in progress.items() if of == network)[1] for network in errors}
    return {
        **stress,
        "harmonic": progress["mlp", "harmonic"],
        "arithmetic": progress["mlp", "arithmetic"],
    }, {
        "of all means the harmonic makes most progress": set(best.values()) == {"harmonic"},
        "means err less than their members": all(row["error"] < errors[row["network"]] for row in rows),
    }


def mao2023_synthetic(folder: Path) -> Facts:
    found: dict[str, float | str] = {}
    for inputs in ("sloppy", "isotropic"):
        found[f"{inputs}_10"] = records(folder / f"{inputs}.jsonl")[0]["explained_stress"][9]
        rows = records(folder / f"{inputs}-progress.jsonl")
        for name, usual in (("corners", False), ("usual", True)):
            of = [row for row in rows if (row["begins"] == "near ignorance") == usual]
            error = means(of, "epoch", "error")
            found |= {f"{inputs}_{name}_error": error[max(error)], f"{inputs}_{name}_error_1": error[1]}
    return found, {
        "on sloppy inputs, corners are left in the first epoch": float(found["sloppy_corners_error_1"]) < 0.5,
        "on isotropic ones they are not, those near ignorance learn": (
            float(found["isotropic_corners_error"]) > 0.5 > float(found["isotropic_usual_error"])
        ),
    }


def learning_rates(folder: Path) -> Facts:
    rates = {name: records(folder / f"learning-rates/{name}/metrics.jsonl") for name in ("small", "large", "annealed")}

    def below(rows: Records, entry: str, bound: float) -> float:
        return min(row["epoch"] for row in rows if row.get(entry) is not None and row[entry] < bound)

    clean = {name: next(row["clean_error"] for row in rows if row["epoch"] == 4) for name, rows in rates.items()}
    patch = {name: below(rows, "patch_error", 0.7) for name, rows in rates.items()}
    return {
        **{f"clean_4_{name}": error for name, error in clean.items()},
        **{f"patch_{name}": epoch for name, epoch in patch.items()},
        **{f"clean_end_{name}": rows[-1]["clean_error"] for name, rows in rates.items()},
        **{f"patch_end_{name}": rows[-1]["patch_error"] for name, rows in rates.items()},
    }, {
        "the large rate learns the images first": clean["large"] < clean["small"],
        "the small rate begins with the patch sooner": patch["small"] < patch["large"],
    }


def mode_connectivity(folder: Path) -> Facts:
    train, test = (
        next(r for r in records(folder / "curve.jsonl") if r["split"] == split) for split in ("train", "test")
    )
    points = [row for row in records(folder / "path.jsonl") if row["split"] == "test"]
    curve = [row["error"] for row in points if row.get("along") == "curve"]
    line = [row["error"] for row in points if row.get("along") is None]
    return {
        "highest_line": max(line),
        "highest_curve": max(curve),
        "length": test["length"],
        **{
            f"{path}_{split}": row[f"{entry}error_sup"]
            for path, entry in (("line", "line_"), ("curve", ""))
            for split, row in (("train", train), ("test", test))
        },
        **{
            f"{path}_loss_{split}": row[f"{entry}loss_sup"]
            for path, entry in (("line", "line_"), ("curve", ""))
            for split, row in (("train", train), ("test", test))
        },
    }, {"the curve has hardly a barrier": test["error_sup"] < 0.05 * test["line_error_sup"] + 0.01}


FIGURES: dict[str, Callable[[Path], Facts]] = {
    "demo": demo,
    "fort2020-fig2": fort2020_fig2,
    "fort2020-fig5": fort2020_fig5,
    "fort2020-fig7": fort2020_fig7,
    "fort2020-fig8": fort2020_fig8,
    "fort2020-fig10": fort2020_fig10,
    "fort2020-curvature": fort2020_curvature,
    "report": report,
    "mao2023-fig2": mao2023_fig2,
    "mao2023-fig4": mao2023_fig4,
    "mao2023-fig6": mao2023_fig6,
    "mao2023-fig7": mao2023_fig7,
    "mao2023-fig10": mao2023_fig10,
    "mao2023-fig11": mao2023_fig11,
    "mao2023-appendix-d": mao2023_appendix_d,
    "mao2023-synthetic": mao2023_synthetic,
    "learning_rates": learning_rates,
    "mode_connectivity": mode_connectivity,
}
