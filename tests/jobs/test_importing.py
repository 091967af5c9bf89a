import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.jobs.importing import ImportPlan, run_import
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import read_tensors
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES

SPEC = NetworkSpec("simple-cnn", {"width": "0.5"})
DATA = DataSpec("digits")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    (file,) = (SAMPLES / "early-a" / "checkpoints").glob("*")
    return read_tensors([file])


def imported(*sources: Path, out: Path, **changes: object) -> Run:
    plan = ImportPlan(**{"sources": sources, "out": out, "network": SPEC, "data": DATA, **changes})  # type: ignore[arg-type]
    return Run.open(Path(run_import(plan)["path"]))


def test_a_state_dict_in_a_pickle(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save(weights, tmp_path / "model.pt")
    run = imported(tmp_path / "model.pt", out=tmp_path / "run")
    assert (run.status, run.steps()) == ("imported", [0])
    assert run.checkpoint(0).hash() == Run.open(SAMPLES / "early-a").checkpoint(330).hash()
    assert run.document["network"]["parameters"] == 72_442


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "model", "net"])
def test_the_usual_wrappings(tmp_path: Path, weights: dict[str, torch.Tensor], wrap: str) -> None:
    content = {wrap: {f"_orig_mod.module.{k}": v for k, v in weights.items()}, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "ckpt_7.pth")
    run = imported(tmp_path / "ckpt_7.pth", out=tmp_path / "run")
    assert run.steps() == [7]
    assert run.checkpoint(7).tensors().keys() == weights.keys()


def test_a_named_entry_and_a_prefix(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"ema": {f"backbone.{k}": v for k, v in weights.items()}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="holds no weights") as caught:
        imported(tmp_path / "x.pt", out=tmp_path / "run")
    assert "it holds ema" in (caught.value.hint or "")
    assert imported(tmp_path / "x.pt", out=tmp_path / "run", key="ema", prefix="backbone.").steps() == [0]


def test_a_folder_of_steps_and_epochs(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for step in (100, 20):
        save_file(weights, folder / f"step_{step}.safetensors")
    run = imported(folder, out=tmp_path / "run", steps_per_epoch=20)
    assert [(c.step, c.epoch) for c in run.checkpoints()] == [(20, 1.0), (100, 5.0)]
    hugging = tmp_path / "hf"
    (hugging / "checkpoint-5").mkdir(parents=True)
    save_file(weights, hugging / "checkpoint-5" / "model.safetensors")
    assert imported(hugging, out=tmp_path / "hf-run").steps() == [5]
    pickles = tmp_path / "pickles"
    pickles.mkdir()
    for epoch in (1, 2):
        torch.save(weights, pickles / f"epoch{epoch}.pt")
    assert imported(pickles, out=tmp_path / "pickled").steps() == [1, 2]


def test_steps_by_hand_and_steps_that_clash(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    files = [tmp_path / name for name in ("best.pt", "final.pt")]
    for file in files:
        torch.save(weights, file)
    with pytest.raises(UsageError, match=r"best\.pt has no step in its name"):
        imported(*files, out=tmp_path / "run")
    with pytest.raises(UsageError, match="2 checkpoints, but 1 steps"):
        imported(*files, out=tmp_path / "run", steps=[1])
    with pytest.raises(UsageError, match="two checkpoints have step 1"):
        imported(*files, out=tmp_path / "run", steps=[1, 1])
    assert imported(*files, out=tmp_path / "run", steps=[4, 9]).steps() == [4, 9]


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-run",)


def test_a_pickle_that_needs_code_is_refused_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Attack()}, "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt needs code to be run .* nothing was run"):
        imported(Path("bad.pt"), out=tmp_path / "run")
    assert not (tmp_path / "was-run").exists()
    assert not (tmp_path / "run").exists()
    torch.save(torch.nn.Linear(2, 2), "whole.pt")  # a whole module, not its weights
    with pytest.raises(CheckpointError, match="needs code to be run"):
        imported(Path("whole.pt"), out=tmp_path / "run")
    Path("no.pt").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError):
        imported(Path("no.pt"), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "head.bias"}, r"tensor 'head\.bias' is missing"),
        (lambda w: w | {"head.bias": torch.zeros(3)}, r"'head\.bias' has shape \(3,\), the network needs \(10,\)"),
        (lambda w: w | {"head.bias": torch.full((10,), torch.inf)}, "holds NaN or infinite values"),
    ],
)
def test_nothing_is_written_if_one_of_several_does_not_fit(
    tmp_path: Path, weights: dict[str, torch.Tensor], change, message: str
) -> None:
    save_file(weights, tmp_path / "step-1.safetensors")
    save_file(change(weights), tmp_path / "step-2.safetensors")
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path / "step-1.safetensors", tmp_path / "step-2.safetensors", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_twice_is_a_skip_and_something_else_a_refusal(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, tmp_path / "a.safetensors")
    plan = ImportPlan(sources=[tmp_path / "a.safetensors"], out=tmp_path / "run", network=SPEC, data=DATA)
    assert run_import(plan)["skipped"] is False
    assert run_import(plan)["skipped"] is True
    save_file(weights | {"head.bias": torch.zeros(10)}, tmp_path / "a.safetensors")
    with pytest.raises(ConflictError, match="holds another run"):
        run_import(plan)


def test_without_network_and_data_tensors_are_taken_as_they_are(tmp_path: Path) -> None:
    save_file({"anything": torch.ones(3)}, tmp_path / "a.safetensors")
    run = imported(tmp_path / "a.safetensors", out=tmp_path / "run", network=None, data=None)
    assert run.document["config"]["network"] is None
    assert run.document["network"]["parameters"] == 3
