"""``landscape hessian`` and ``landscape escape`` from the shell."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Cli

FAST = ["--device", "cpu", "--threads", "1", "--samples", "128"]


def test_along_a_run_into_a_figure(cli: Cli, parent: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    file = tmp_path / "h.jsonl"
    done = cli("hessian", parent, "--at", "all", *FAST, "--density", 2, "--steps", 6, "--parts", 2, "--out", file)
    assert done.status == 0
    assert [record["epoch"] for record in done.records] == [0.0, 1.0, 2.0, 3.0]
    assert all(record["residual"] <= 1e-3 and record["lambda_max_sd"] >= 0 for record in done.records)
    for kind in ("sharpness", "density"):
        assert cli("plot", file, "--kind", kind, "-o", tmp_path / f"{kind}.png").status == 0
    escapes = tmp_path / "e.jsonl"
    assert cli("escape", parent, "--at", "0ep,3ep", *FAST, "--minibatches", 1, "--out", escapes).status == 0
    assert cli("plot", escapes, "-o", tmp_path / "e.png").status == 0
    assert (tmp_path / "e.png").stat().st_size > 1000


def test_tables_and_paths(cli: Cli, parent: Path) -> None:
    table = cli("hessian", f"{parent}@1ep", *FAST, "--format", "table", "--parts", 0)
    assert "λ_max" in table.out
    assert "residual" in table.out
    assert cli("hessian", parent, *FAST, "-q", "--parts", 0).out == f"{parent}\n"
    table = cli("escape", parent, *FAST, "--format", "table", "--minibatches", 1)
    assert "ηλ/2 − 1" in table.out


def test_checkpoints_of_others_need_what_a_run_would_say(cli: Cli, parent: Path, tmp_path: Path) -> None:
    file = shutil.copy(parent / "checkpoints" / "step-00000012.safetensors", tmp_path / "foreign.safetensors")
    what = ["--network", "mlp", "-N", "widths=16", "--data", "digits"]
    done = cli("hessian", file, *what, *FAST, "--parts", 0)
    assert done.records[0]["path"] == str(file)
    assert cli("hessian", file, *FAST).status == 2
    done = cli("escape", file, *what, *FAST)
    assert (done.status, done.out) == (2, "")
    assert "does not say how it was trained" in done.err
    (record,) = cli("escape", file, *what, *FAST, "--lr", 0.1, "--batch-size", 32, "--minibatches", 1).records
    assert (record["lr"], record["momentum"], record["optimizer_state"]) == (0.1, 0.0, "missing")


def test_eigenvectors_are_shaped_as_the_weights(cli: Cli, parent: Path, tmp_path: Path) -> None:
    file = tmp_path / "v.safetensors"
    words = ["hessian", parent, *FAST, "--top", 2, "--parts", 0, "--vectors", file]
    (record,) = cli(*words).records
    found, weights = load_file(file), load_file(parent / "checkpoints" / "step-00000012.safetensors")
    assert found["eigenvalues"].tolist() == pytest.approx(record["eigenvalues"])
    names = [name for name in found if name not in ("eigenvalues", "residuals")]
    assert {name: tuple(found[name].shape[1:]) for name in names} == {n: tuple(w.shape) for n, w in weights.items()}
    assert sum(float(found[name][0].double().square().sum()) for name in names) == pytest.approx(1, abs=1e-5)
    assert cli(*words).status == 0  # the same again is no conflict
    assert cli(*words, "--seed", 3).status == 1


def test_a_plan_measures_nothing(cli: Cli, parent: Path) -> None:
    (plan,) = cli("hessian", parent, *FAST, "--dry-run", "--trace", 9).records
    assert (plan["kind"], plan["products"]) == ("plan", 21)
    (plan,) = cli("escape", parent, "--at", "0ep,3ep", *FAST, "--dry-run").records
    assert (plan["kind"], plan["products"], plan["samples"], plan["batch_size"]) == ("plan", 2 * 17, 128, 64)


def test_the_pipe_keeps_what_it_does_not_know(cli: Cli, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    line = json.dumps({"kind": "run", "path": str(parent), "colour": "red"})
    for command in (["hessian", "-", "--parts", 0], ["escape", "-", "--minibatches", 1]):
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))
        (record,) = cli(*command, *FAST).records
        assert record["colour"] == "red"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["hessian", "RUN", "--precision", "bf16"], 2, "curvature is not computed in bf16"),
        (["hessian", "RUN", "--trace", "4"], 2, "a trace takes 6 products"),
        (["hessian", "RUN", "--at", "0ep,1ep", "--vectors", "x.safetensors"], 2, "--vectors is one file"),
        (["hessian", "RUN", "--samples", "9999"], 1, "a subset of 9999 samples was asked for"),
        (["hessian", "RUN", "--curvature", "fisher"], 2, "Invalid value for '--curvature'"),
        (["escape", "RUN", "--lr", "0"], 2, "learning rate of 0.0 does not train"),
        (["escape", "RUN", "--batch-size", "9999"], 1, "minibatches of 9999"),
    ],
)
def test_errors_name_the_thing(cli: Cli, parent: Path, words: list[str], status: int, message: str) -> None:
    done = cli(*(str(parent) if word == "RUN" else word for word in words), "--device", "cpu")
    assert (done.status, done.out) == (status, "")
    assert message in done.err
