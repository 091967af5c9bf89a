"""How runs begin: other weights taken whole, corners, and what is recorded, compared, replayed and refused."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, ConflictError, NetworkError, UsageError
from landscape_cli.jobs.beginnings import initial_network
from landscape_cli.jobs.spawning import SpawnPlan, child_jobs, with_origin
from landscape_cli.jobs.subjects import build_network, load_data, recorded_data
from landscape_cli.jobs.training import TrainJob, run_training
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import tensors_hash
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import RESUME, Run
from landscape_cli.times import parse_times

MLP = NetworkSpec("mlp", {"widths": "24", "batch_norm": True})
TRUE = DataSpec("digits", train_size=160)
RANDOM = DataSpec("digits", train_size=160, labels="random:1")


def job(out: Path, **changes: object) -> TrainJob:
    settings: dict = {
        "out": out,
        "network": MLP,
        "data": TRUE,
        "protocol": Protocol(lr=0.1, epochs=2, batch_size=40),
        "record": "every:1ep",
        "device": "cpu",
        "threads": 1,
    }
    return TrainJob(**{**settings, **changes})


@pytest.fixture(scope="module")
def _random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "random"
    run_training(job(out, data=RANDOM, seeds=Seeds(5, 5, 5, 5)))
    return out


@pytest.fixture
def random(_random: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_random, tmp_path / "random"))


def test_random_labels_first_then_the_true_task(random: Path, tmp_path: Path) -> None:
    """Step 0 is the first stage's last checkpoint, buffers and all, on true labels and with an empty optimiser."""
    run_training(job(tmp_path / "then", init_from=str(random)))
    first, then = Run.open(random), Run.open(tmp_path / "then")
    before, after = first.checkpoint(8).tensors(), then.checkpoint(0).tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert int(after["norm1.num_batches_tracked"]) == 8
    rows = read_metrics(then.path)
    assert (rows[0]["step"], rows[0]["epoch"]) == (0, 0)
    assert rows[0]["test_error"] == read_metrics(random)[-1]["test_error"]
    assert then.document["config"]["init_from"] == {"path": "../random", "at": None, "hash": tensors_hash(before)}
    assert recorded_data(first).labels == "random:1"
    labels = load_data(recorded_data(first)).train.labels
    assert (labels != load_data(TRUE).train.labels).mean() > 0.8
    assert "labels" not in then.document["config"]["data"]
    # By hand: one step of plain SGD with momentum from a fresh state is w - lr·g, whatever momentum came before.
    by_hand = initial_network(MLP, load_data(TRUE), seed=0)
    by_hand.load_state_dict(before)
    from landscape_cli.compute.device import placement
    from landscape_cli.compute.streams import stream
    from landscape_cli.jobs.subjects import samples_of

    data = load_data(TRUE)
    samples = samples_of(data.train, data.normalization, placement("cpu"))
    index = torch.randperm(160, generator=stream("order", 0, 0))[:40]
    by_hand.train()
    loss = torch.nn.functional.cross_entropy(by_hand(samples.normalized(samples.inputs[index])), samples.labels[index])
    loss.backward()
    run_training(job(tmp_path / "one", init_from=str(random), record="step:0,step:1,last"))
    stepped = Run.open(tmp_path / "one").checkpoint(1).tensors()
    for name, parameter in by_hand.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(stepped[name], (parameter - 0.1 * parameter.grad).detach(), rtol=1e-5, atol=1e-7)


def test_times_and_files_name_other_weights_too(random: Path, tmp_path: Path) -> None:
    run_training(job(tmp_path / "a", init_from=f"{random}@1ep"))
    file = Run.open(random).checkpoint(4).path
    run_training(job(tmp_path / "b", init_from=str(file)))
    a, b = (Run.open(tmp_path / name) for name in "ab")
    assert a.document["config"]["init_from"]["at"] == "1ep"
    assert a.checkpoint(0).hash() == b.checkpoint(0).hash() == Run.open(random).checkpoint(4).hash()
    assert a.checkpoint(8).hash() == b.checkpoint(8).hash()


def test_other_weights_are_a_refusal_and_another_place_is_none(random: Path, tmp_path: Path) -> None:
    out = tmp_path / "then"
    run_training(job(out, init_from=str(random)))
    with pytest.raises(ConflictError, match=r"made otherwise: init_from\.hash is"):
        run_training(job(out, init_from=f"{random}@1ep"))
    with pytest.raises(ConflictError, match="made otherwise: init_from is"):
        run_training(job(out))
    moved = random.rename(tmp_path / "elsewhere")
    assert run_training(job(out, init_from=str(moved)))["skipped"] is True
    assert run_training(job(out, init_from=str(random)))["skipped"] is True  # gone, but the run has no need of it


def test_a_stopped_run_continues_without_its_source(random: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "then"
    run_training(job(whole, init_from=str(random)))
    run_training(job(out, init_from=str(random)))
    Run.open(out).update(status="interrupted")
    for step in (4, 8):
        Run.open(out).resume_file(step).unlink()
        Run.open(out).checkpoint(step).path.unlink()
    shutil.move(random, tmp_path / "away")
    run_training(job(out, init_from=str(random)))
    assert Run.open(out).checkpoint(8).hash() == Run.open(whole).checkpoint(8).hash()


def test_a_run_without_states_needs_its_source(random: Path, tmp_path: Path) -> None:
    out = tmp_path / "then"
    with pytest.raises(CheckpointError, match="random2 does not exist"):
        run_training(job(out, init_from=str(tmp_path / "random2")))
    run_training(job(out, init_from=str(random)))
    Run.open(out).update(status="running")
    shutil.rmtree(out / RESUME)
    shutil.move(random, tmp_path / "away")
    with pytest.raises(CheckpointError, match=r"then begins with the weights of .*random.* does not exist"):
        run_training(job(out, init_from=str(random)))
    run_training(job(tmp_path / "random", data=RANDOM))  # another run in its place
    with pytest.raises(ConflictError, match=r"init_from\.hash is"):
        run_training(job(out, init_from=str(random)))


def test_what_does_not_fit_is_named(random: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"linear1\.weight"):
        run_training(job(tmp_path / "wide", network=NetworkSpec("mlp", {"widths": "32"}), init_from=str(random)))
    with pytest.raises(UsageError, match="takes them from elsewhere"):
        run_training(job(tmp_path / "both", init="corners", init_from=str(random)))
    with pytest.raises(UsageError, match="weights of its own"):
        run_training(job(random, init_from=str(random)))
    with pytest.raises(NetworkError, match="has none"):
        run_training(job(tmp_path / "none", network=NetworkSpec("allcnn", {"width": 0.1}), init="corners"))


def test_runs_without_entries_stay_what_they_were(tmp_path: Path) -> None:
    out = tmp_path / "old"
    run_training(job(out))
    config = json.loads((out / "run.json").read_text())["config"]
    assert not {"init", "init_from"} & config.keys()
    assert config["data"].keys() == {"source", "options", "train_size", "label_noise", "seed"}
    assert run_training(job(out))["skipped"] is True
    with pytest.raises(ConflictError, match="made otherwise: init is"):
        run_training(job(out, init="corners"))
    with pytest.raises(ConflictError, match=r"made otherwise: data\.labels is"):
        run_training(job(out, data=RANDOM))


def test_corners_are_unit_normal_weights_near_certainty() -> None:
    data = load_data(DataSpec("synthetic:isotropic", {"train": "200", "test": "200"}))
    spec = NetworkSpec("mlp", {"widths": "512", "batch_norm": "true"})
    corner, plain = initial_network(spec, data, seed=3, init="corners"), build_network(spec, data, seed=3)
    drawn, usual = ({k: v.clone() for k, v in made.state_dict().items()} for made in (corner, plain))
    for name in drawn:
        if not name.endswith("weight"):
            assert torch.equal(drawn[name], usual[name])
            continue
        values = drawn[name].double()
        assert abs(float(values.mean())) < 5 / values.numel() ** 0.5
        assert abs(float(values.var()) - 1) < 5 * (2 / values.numel()) ** 0.5
    inputs = torch.as_tensor(data.test.inputs)
    with torch.no_grad():
        largest = [torch.softmax(network.train()(inputs), 1).max(1).values.mean() for network in (corner, plain)]
    assert largest[0] > 0.95
    assert largest[1] < 0.5
    again = initial_network(spec, data, seed=3, init="corners").state_dict()
    assert all(torch.equal(again[name], drawn[name]) for name in drawn)
    other = initial_network(spec, data, seed=4, init="corners").state_dict()
    assert not torch.equal(other["head.weight"], drawn["head.weight"])
    near = [initial_network(spec, data, seed=seed, init="corners:3").state_dict() for seed in (3, 8)]
    for seed, state in zip((3, 8), near, strict=True):  # one corner, each around it with its own usual weights
        own = build_network(spec, data, seed=seed).state_dict()
        torch.testing.assert_close(state["linear1.weight"], drawn["linear1.weight"] + own["linear1.weight"])
        assert torch.equal(state["head.bias"], own["head.bias"])
    with pytest.raises(UsageError, match="no initial weights 'corner'"):
        initial_network(spec, data, seed=3, init="corner")
    assert initial_network(spec, data, seed=3).state_dict()["head.weight"].equal(usual["head.weight"])


@pytest.mark.parametrize("beginning", ["corners", "other"])
def test_a_replay_begins_as_the_run_did(beginning: str, random: Path, tmp_path: Path) -> None:
    """The parent kept no state: a child at step 3 needs its training from step 0 on, and so the same beginning."""
    changes = {"init": "corners"} if beginning == "corners" else {"init_from": os.path.relpath(random)}
    out = tmp_path / "parent"
    run_training(job(out, keep_resume="none", record="0ep,step:3,last", **changes))
    parent = Run.open(out)
    wanted = parent.checkpoint(3).hash()
    parent.checkpoint(3).path.unlink()
    plan = SpawnPlan(parent, MLP, TRUE, parse_times("step:3"), children=1, same_stream=True, device="cpu", threads=1)
    (child,) = (with_origin(plan, child) for child in child_jobs(plan))
    assert parent.checkpoint(3).hash() == wanted
    run_training(child)
    assert Run.open(child.out).checkpoint(8).hash() == parent.checkpoint(8).hash()
