"""plane from the shell: the numbers of barrier and function-dist, interruption, bad input, the pipe to plot."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from landscape_cli.compute.weights.plane_walk import PlaneWalk
from landscape_cli.store.planes import StoredPlane
from tests.conftest import SAMPLES, TRAIN, Cli

CORNERS = (f"{SAMPLES / 'parent'}@0ep", str(SAMPLES / "early-a"), str(SAMPLES / "early-b"))
QUICK = ("--threads", "1", "--no-progress", "--device", "cpu")
SMALL = ("--samples", "60", "--grid", "3", *QUICK)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "plane.h5"


def test_the_line_between_two_corners_is_that_of_barrier(cli: Cli, out: Path, tmp_path: Path) -> None:
    far = cli("weight-dist", CORNERS[1], CORNERS[0], *QUICK[2:3]).records[0]["distance"]
    done = cli("plane", *CORNERS, "--x", f"0,{far!r}", "--y", "-1,1", "--grid", "5,3", "-o", out, "--to", "B", *QUICK)
    (record,) = done.records
    assert record["distance_ab"] == pytest.approx(far, rel=1e-9)
    points = tmp_path / "line.jsonl"
    barrier = cli(
        "barrier", CORNERS[1], CORNERS[0], "--points", 5, "--refine", 0, "--split", "test", "--curve-out", points,
        *QUICK,
    )  # fmt: skip
    line = sorted((json.loads(text) for text in points.read_text().splitlines()), key=lambda p: p["alpha"])
    values = StoredPlane.open(out).values["test"]
    np.testing.assert_allclose(values["loss"][1], [p["loss"] for p in line], rtol=1e-5)
    np.testing.assert_allclose(values["error"][1], [p["error"] for p in line], atol=1.1 / 355)
    assert record["loss_b"] == barrier.records[0]["loss_a"]
    assert record["error_a"] == barrier.records[0]["error_b"]
    distance = cli("function-dist", CORNERS[1], CORNERS[0], *QUICK).records[0]
    corners = StoredPlane.open(out).corners.rows()
    assert corners[0]["test_distance"] == pytest.approx(distance["distance"])
    assert corners[0]["test_disagreement"] == distance["disagreement"]
    assert corners[1]["test_disagreement"] == 0


def test_an_interrupted_plane_goes_on_and_is_the_same(cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, whole = [0], PlaneWalk.go

    def stopping(self: PlaneWalk, x: float, y: float) -> torch.nn.Module:
        steps[0] += 1
        if steps[0] == 8:
            raise KeyboardInterrupt
        return whole(self, x, y)

    monkeypatch.setattr(PlaneWalk, "go", stopping)
    done = cli("plane", *CORNERS, "-o", out, *SMALL)
    assert (done.status, done.out, out.exists()) == (130, "", False)
    assert "measured points are kept" in done.err
    (record,) = cli("plane", *CORNERS, "-o", out, *SMALL).records
    assert record["reused"] == 6
    first = StoredPlane.open(out)
    monkeypatch.setenv("LANDSCAPE_CACHE", str(out.parent / "other"))
    (fresh,) = cli("plane", *CORNERS, "-o", out.with_name("fresh.h5"), *SMALL).records
    assert fresh["reused"] == 0
    for measure, array in StoredPlane.open(out.with_name("fresh.h5")).values["test"].items():
        np.testing.assert_array_equal(array, first.values["test"][measure])


def test_the_same_again_another_and_finer(cli: Cli, out: Path) -> None:
    assert cli("plane", *CORNERS, "-o", out, *SMALL).status == 0
    before = out.read_bytes()
    assert cli("plane", *CORNERS, "-o", out, *SMALL).records[0]["skipped"] is True
    assert out.read_bytes() == before
    refused = cli("plane", *CORNERS, "-o", out, *SMALL, "--to", "B")
    assert refused.status == 1
    assert "settings.reference is 'A' there, 'B' was asked for" in refused.err
    finer = cli("plane", *CORNERS, "-o", out.with_name("finer.h5"), *SMALL, "--grid", "5").records[0]
    assert (finer["points"], finer["reused"]) == (25, 12)
    forced = cli("plane", *CORNERS, "-o", out, *SMALL, "--to", "B", "--force").records[0]
    assert (forced["to"], forced["reused"]) == ("B", 0)
    out.write_text("mine")
    assert "no HDF5 file" in cli("plane", *CORNERS, "-o", out, *SMALL).err
    assert out.read_text() == "mine"


def test_the_linearised_panel(cli: Cli, out: Path) -> None:
    done = cli("plane", *CORNERS, "-o", out, *SMALL, "--linearize", "B", "--split", "both")
    (record,) = done.records
    plane = StoredPlane.open(out)
    (a, b, _) = plane.corners.rows()
    assert plane.splits == ["train", "test"]
    for split in plane.splits:
        assert b[f"{split}_linearized_loss"] == b[f"{split}_loss"]
        assert a[f"{split}_linearized_loss"] != a[f"{split}_loss"]
    assert np.isfinite(plane.values["train"]["linearized_loss"]).all()
    assert record["linearized_error_b"] == record["error_b"]


def test_adaptive_points_go_where_the_values_change(cli: Cli, out: Path) -> None:
    (record,) = cli("plane", *CORNERS, "-o", out, *SMALL, "--adaptive", "--budget", 30, "--levels", 2).records
    plane = StoredPlane.open(out)
    assert 9 < record["points"] <= 30
    assert record["points"] == plane.measured.sum() == np.isfinite(plane.values["test"]["loss"]).sum()
    assert (plane.measured.shape, plane.stride) == ((9, 9), 4)


def test_along_random_directions_and_the_gradient(cli: Cli, out: Path, parent: Path) -> None:
    (one,) = cli("plane", parent, "-o", out, "--grid", 3, *QUICK).records
    assert (one["directions"], one["units"], one["x"], one["y"]) == ("random", "directions", [-1, 1], [-1, 1])
    plane = StoredPlane.open(out)
    corner = plane.corners.rows()[0]
    assert plane.values["test"]["loss"][1, 1] == corner["test_loss"]
    state = load_file(next(iter((parent / "checkpoints").glob("*12.safetensors"))))
    filters = sum(float(t.double().square().sum()) for name, t in state.items() if t.ndim > 1)
    np.testing.assert_allclose(plane.attributes["metric"][[0, 2]], filters, rtol=1e-5)
    other = cli("plane", parent, "-o", out.with_name("b.h5"), "--grid", 3, "--seed", 1, *QUICK)
    assert other.records[0]["loss_max"] != one["loss_max"]
    (down,) = cli("plane", parent, "-o", out.with_name("c.h5"), "--grid", "5,3", "--directions", "gradient",
                  "--split", "train", "--margin", "0.001", *QUICK).records  # fmt: skip
    row = StoredPlane.open(out.with_name("c.h5")).values["train"]["loss"][1]
    assert (np.diff(row) > 0).all()  # the first direction is the gradient's: the loss rises along it
    assert down["directions"] == "gradient"
    pair = cli("plane", f"{parent}@0ep", parent, "-o", out.with_name("d.h5"), "--grid", 3, *QUICK).records[0]
    assert pair["units"] == "weights"
    assert [r["role"] for r in StoredPlane.open(out.with_name("d.h5")).corners.rows()] == ["A", "B"]
    assert pair["y"][0] == pytest.approx(-pair["y"][1])


def test_the_principal_plane_of_a_run(cli: Cli, out: Path, parent: Path) -> None:
    (record,) = cli("plane", parent, "--directions", "pca", "-o", out, "--grid", 3, *QUICK).records
    states = [load_file(file) for file in sorted((parent / "checkpoints").glob("*.safetensors"))]
    dense = np.stack([np.concatenate([t.double().numpy().ravel() for t in s.values()]) for s in states])
    _, sizes, rows = np.linalg.svd(dense - dense.mean(0), full_matrices=False)
    np.testing.assert_allclose(record["explained"], sizes[:2] ** 2 / (sizes**2).sum(), rtol=1e-6)
    seen = StoredPlane.open(out).trajectories.rows()
    assert [row["epoch"] for row in seen] == [0, 1, 2, 3]
    steps = dense - dense[-1]
    np.testing.assert_allclose(np.abs([[r["x"], r["y"]] for r in seen]), np.abs(steps @ rows[:2].T), atol=1e-5)
    off = np.sqrt(np.square(steps).sum(1) - np.square(steps @ rows[:2].T).sum(1).clip(0))
    np.testing.assert_allclose([r["off"] for r in seen], off, atol=1e-4)


def test_trajectories_beside_the_plane(cli: Cli, out: Path) -> None:
    runs = ("--trajectory", SAMPLES / "parent", "--trajectory", SAMPLES / "early-a")
    done = cli("plane", *CORNERS, *runs, "-o", out, *SMALL)
    seen = StoredPlane.open(out).trajectories.rows()
    corners = StoredPlane.open(out).corners.rows()
    assert [seen[0][k] for k in ("x", "y", "off")] == pytest.approx([0, 0, 0], abs=1e-6)
    assert [seen[-1][k] for k in ("x", "y")] == pytest.approx([corners[1]["x"], corners[1]["y"]], rel=1e-6)
    assert seen[1]["off"] > 1
    assert done.records[0]["trajectory_points"] == len(seen)


def test_other_peoples_checkpoints_and_the_pipe_to_plot(cli: Cli, out: Path, tmp_path: Path, parent: Path) -> None:
    files = []
    for number in range(3):
        file = tmp_path / f"net-{number}.safetensors"
        save_file(load_file(sorted((parent / "checkpoints").glob("*.safetensors"))[number]), file)
        files.append(file)
    about = ("--network", "mlp", "-N", "widths=16", "--data", "digits")
    assert "does not say what network" in cli("plane", *files, "-o", out, *SMALL).err
    done = cli("plane", *files, *about, "-o", out, *SMALL)
    assert done.status == 0
    (tmp_path / "record.jsonl").write_text(done.out)
    pytest.importorskip("matplotlib", reason="figures are an extra")
    for name in ("a.png", "a.html"):
        drawn = cli("plot", tmp_path / "record.jsonl", "-o", tmp_path / name)
        assert (drawn.status, drawn.records[0]["figure"]) == (0, "plane")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_far_out_is_told(cli: Cli, out: Path, parent: Path) -> None:
    far = ("--x", "-1e38,1e38", "--y", "-1e38,1e38", "--grid", "3")
    done = cli("plane", f"{parent}@1ep", f"{parent}@2ep", parent, *far, "-o", out, *QUICK)
    plane = StoredPlane.open(out)
    assert done.records[0]["not_finite"] > 0
    assert plane.measured.all()
    assert not np.isfinite(plane.values["test"]["loss"]).all()


def test_a_plan(cli: Cli, out: Path) -> None:
    (plan,) = cli("plane", *CORNERS, "-o", out, "--dry-run", *QUICK).records
    assert (plan["kind"], plan["points"], plan["images"]) == ("plan", 444, 444 * 355)
    assert not out.exists()


def broken(path: Path) -> Path:
    """A run whose last checkpoint holds a NaN."""
    file = sorted((path / "checkpoints").glob("*.safetensors"))[-1]
    state = load_file(file)
    name = next(iter(state))
    state[name].view(-1)[0] = math.nan
    save_file(state, file)
    return path


def test_bad_input_is_one_line(cli: Cli, out: Path, parent: Path, tmp_path: Path) -> None:
    a, b, c = CORNERS
    middle = tmp_path / "middle.safetensors"
    ends = [load_file(next(iter((Path(p) / "checkpoints").glob("*.safetensors")))) for p in (b, c)]
    save_file({name: torch.lerp(ends[0][name], ends[1][name], 0.5) for name in ends[0]}, middle)
    about = ("--network", "simple-cnn", "--data", "digits")
    other = Path(shutil.copytree(parent, tmp_path / "broken"))
    cases = [
        ((b, c, b), 2, "are the same point of weight space"),
        ((b, b), 2, "are the same point of weight space"),
        ((a, b, parent), 1, "are different networks"),
        ((a, b, c, parent), 2, "4 checkpoints: a plane goes through one, two or three"),
        ((a, b, c, "--directions", "random"), 2, "three networks span a plane"),
        ((a, b, "--directions", "pca"), 2, "goes through one network, not two"),
        ((b, "--directions", "pca"), 1, "has no two principal components"),
        ((a, b, "--to", "C"), 2, "--to C: there are 2 networks"),
        ((a, b, c, "--budget", "9"), 2, "--budget is of adaptive grids"),
        ((a, b, c, "--linearize", "A", "--precision", "bf16"), 1, "cannot be held in half precision"),
        ((a, b, c, "--grid", "1"), 2, "two points or more along each side"),
        ((a, b, c, "--x", "2,1"), 2, "--x 2,1 is no range"),
        ((a, b, c, "--data", "digit"), 2, "there is no data set 'digit'"),
        ((broken(other), f"{other}@0ep"), 1, "holds NaN or infinite values"),
        ((f"{parent}@0ep", f"{parent}@1ep", parent, "--trajectory", other), 1, "holds NaN or infinite values"),
        ((b, "--margin", "0"), 2, "--margin 0 around one network"),
        ((a, b, c, "--trajectory", tmp_path / "nowhere"), 1, "does not exist"),
    ]
    for arguments, status, message in cases:
        done = cli("plane", *arguments, "-o", out, *QUICK)
        assert (done.status, done.out) == (status, ""), done.err
        assert message in done.err.splitlines()[0]
        assert not out.exists()
    done = cli("plane", b, c, middle, *about, "-o", out, *QUICK)
    assert done.status == 2
    assert "lie on one line" in done.err


def test_batch_norm_can_be_kept(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "norm"
    words = list(TRAIN)
    words[words.index("mlp") : words.index("mlp") + 3] = ["resnet20", "-N", "width=0.25"]
    words[words.index("--epochs") + 1] = "1"
    assert cli(*words, "--checkpoints", "every:0.5ep", "--out", run).status == 0
    found = {}
    for mode in ("recompute", "lerp", "keep"):
        done = cli("plane", f"{run}@0ep", f"{run}@0.5ep", run, "--grid", 2, "--margin", 0, "--samples", 40, "--bn",
                   mode, "--bn-samples", 64, "-o", tmp_path / f"{mode}.h5", *QUICK)  # fmt: skip
        found[mode] = done.records[0]
    assert [found[mode]["bn_samples"] for mode in found] == [64, None, None]
    assert len({record["loss_b"] for record in found.values()}) == 3
