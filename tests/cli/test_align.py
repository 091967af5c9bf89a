"""align from the shell: the copy stands wherever a checkpoint can, and says how it was made."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from landscape_cli.compute.weights.permutation_tracing import trace_permutations
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.checkpoints import read_header
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES, TRAIN, Cli

QUICK = ("--threads", "1", "--no-progress", "--device", "cpu")
PAIR = (SAMPLES / "early-a", SAMPLES / "early-b")


def shuffled_copy(source: Path, out: Path, seed: int = 0) -> None:
    """A file with the units of a checkpoint of the sample network in another order."""
    network = build(NetworkSpec("simple-cnn", {"width": 0.5}), (1, 8, 8), 10)
    graph = trace_permutations(network, torch.randn(2, 1, 8, 8))
    (file,) = (source / "checkpoints").glob("*.safetensors")
    save_file(graph.apply(load_file(file), graph.shuffled(np.random.default_rng(seed))), out)


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_the_copy_is_a_run_of_the_same_function(cli: Cli, tmp_path: Path, method: str) -> None:
    out = tmp_path / "aligned"
    done = cli("align", *PAIR, "-o", out, "--method", method, *QUICK)
    assert done.status == 0, done.err
    (record,) = done.records
    assert (record["kind"], record["status"], record["network"]) == ("run", "aligned", "simple-cnn")
    assert (record["units"], record["groups"], record["fixed"], record["method"]) == (224, 6, 0, method)
    assert record["objective"] > record["objective_before"]
    assert record["logit_difference"] < 1e-9
    (same,) = cli("function-dist", PAIR[1], out, *QUICK).records
    assert same["disagreement"] == 0
    (measured,) = cli("weight-dist", PAIR[0], out).records
    assert measured["distance"] == pytest.approx(record["distance"])
    run = Run.open(out)
    assert run.parent is not None
    assert run.parent.resolve() == SAMPLES / "parent"
    assert run.lineage is not None
    assert run.lineage["child"] == 1
    assert cli("barrier", PAIR[0], out, "--points", 3, "--refine", 0, "--pairs", "siblings", *QUICK).status == 0
    assert cli("info", out).records[0]["checkpoint_steps"] == [330]
    again = cli("align", *PAIR, "-o", out, "--method", method, *QUICK).records[0]
    assert again == record | {"skipped": True}


def test_a_permuted_copy_comes_back(cli: Cli, tmp_path: Path) -> None:
    """To distance zero, and to a barrier of zero; its permutations are kept in the file."""
    source = PAIR[0]
    shuffled_copy(source, tmp_path / "shuffled.safetensors")
    names = ("--network", "simple-cnn", "-N", "width=0.5", "--data", "digits")
    line = ("--points", 3, "--refine", 0, "--split", "test", *QUICK)
    apart = cli("barrier", source, tmp_path / "shuffled.safetensors", *names, *line).records[0]
    assert apart["error_sup"] > 0.3
    out = tmp_path / "back.safetensors"
    done = cli("align", source, tmp_path / "shuffled.safetensors", "-o", out, *names, "--restarts", 1, *QUICK)
    (record,) = done.records
    assert (record["kind"], record["distance"], record["cosine"]) == ("checkpoint", 0, 1)
    assert record["distance_before"] > 10
    assert "need --network and --data" in done.err
    (file,) = (source / "checkpoints").glob("*.safetensors")
    back, own = load_file(out), load_file(file)
    assert all(torch.equal(back[name], own[name]) for name in own)
    kept = read_header(out).landscape["alignment"]["permutations"]
    assert {name: sorted(order) for name, order in kept.items()} == {
        f"conv{n}": list(range(c)) for n, c in zip(range(1, 7), (16, 16, 32, 32, 64, 64), strict=True)
    }
    together = cli("barrier", source, out, *names, *line).records[0]
    assert (together["error_sup"], together["error_mid"], together["loss_sup"]) == (0, 0, pytest.approx(0, abs=1e-9))
    assert cli("align", source, tmp_path / "shuffled.safetensors", "-o", out, *names, "--restarts", 1, *QUICK).records[
        0
    ]["skipped"]


def test_through_a_pipe(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    lines = "".join(json.dumps({"kind": "run", "path": str(path), "note": "kept"}) + "\n" for path in PAIR)
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert cli("align", "-", "-o", tmp_path / "x", "-q", *QUICK).out == f"{tmp_path / 'x'}\n"


def test_what_is_in_the_way(cli: Cli, tmp_path: Path, siblings: list[Path]) -> None:
    out = tmp_path / "aligned"
    assert cli("align", *PAIR, "-o", out, "--restarts", 1, *QUICK).status == 0
    other = cli("align", *PAIR, "-o", out, "--restarts", 2, *QUICK)
    assert (other.status, "another alignment: restarts is 1 there, 2 was asked for" in other.err) == (1, True)
    assert cli("align", *PAIR, "-o", out, "--restarts", 2, "--force", *QUICK).records[0]["restarts"] == 2
    run = cli("align", *PAIR, "-o", SAMPLES / "late-a", *QUICK)
    assert (run.status, "holds another run" in run.err) == (1, True)
    itself = cli("align", *siblings, "-o", siblings[1], "--force", *QUICK)
    assert (itself.status, "early-b itself" in itself.err) == (1, True)
    assert Run.open(siblings[1]).steps() == [330]
    file = tmp_path / "x.safetensors"
    shuffled_copy(PAIR[0], file)
    taken = cli("align", *PAIR, "-o", file, *QUICK)
    assert (taken.status, "is no aligned checkpoint" in taken.err) == (1, True)
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "mine.txt").write_text("mine")
    things = cli("align", *PAIR, "-o", tmp_path / "things", *QUICK)
    assert (things.status, "is no run directory" in things.err) == (1, True)
    assert (tmp_path / "things" / "mine.txt").read_text() == "mine"


def test_a_dry_run_tells_the_groups_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    (plan,) = cli("align", *PAIR, "-o", tmp_path / "x", "--dry-run", *QUICK).records
    assert plan["by_group"] == {"conv1": 16, "conv2": 16, "conv3": 32, "conv4": 32, "conv5": 64, "conv6": 64}
    assert not (tmp_path / "x").exists()


def test_stopped_it_writes_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("landscape_cli.jobs.alignment.match_weights", stop)
    done = cli("align", *PAIR, "-o", tmp_path / "x", *QUICK)
    assert (done.status, "nothing was written" in done.err) == (130, True)
    assert not (tmp_path / "x").exists()


NETWORK = '''
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embed = nn.Linear(64, 16)
        self.mix = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = self.embed(x.flatten(1))[:, None]
        return self.head((x + self.mix(x, x, x, need_weights=False)[0])[:, 0])

def build(input_shape, classes):
    return Net(classes)
'''  # fmt: skip


def test_a_network_that_cannot_be_derived_is_refused_by_place(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORK)
    network = f"{tmp_path / 'nets.py'}:build"
    for seed in (0, 1):
        torch.manual_seed(seed)
        scope: dict[str, object] = {}
        exec(NETWORK, scope)
        save_file(scope["build"]((1, 8, 8), 10).state_dict(), tmp_path / f"{seed}.safetensors")  # type: ignore[operator]
    files = (tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    done = cli("align", *files, "-o", tmp_path / "x", "--network", network, "--data", "digits", *QUICK)
    assert done.status == 1
    assert "cannot be derived at mix (MultiheadAttention), operation" in done.err
    assert not (tmp_path / "x").exists()


def test_bad_input(cli: Cli, parent: Path, tmp_path: Path) -> None:
    alone = cli("align", PAIR[0], "-o", tmp_path / "x", *QUICK)
    assert (alone.status, "takes two checkpoints, A and B, not 1" in alone.err) == (2, True)
    other = cli("align", PAIR[0], parent, "-o", tmp_path / "x", *QUICK)
    assert (other.status, "are different networks" in other.err) == (1, True)
    (file,) = (PAIR[0] / "checkpoints").glob("*.safetensors")
    broken = load_file(file)
    broken["conv3.weight"][0, 0, 0, 0] = float("nan")
    save_file(broken, tmp_path / "nan.safetensors")
    named = cli(
        "align", PAIR[0], tmp_path / "nan.safetensors", "-o", tmp_path / "x", "--network", "simple-cnn",
        "-N", "width=0.5", "--data", "digits", *QUICK,
    )  # fmt: skip
    assert (named.status, "tensor 'conv3.weight' holds NaN" in named.err) == (1, True)


def test_a_linearised_run_is_refused(cli: Cli, parent: Path, tmp_path: Path) -> None:
    made = cli("linearize", parent, "--at", "1ep", "--epochs", 1, "--repeats", 2, "--out", tmp_path / "lin", *QUICK)
    runs = [record["path"] for record in made.records if record["kind"] == "run"]
    done = cli("align", *runs[:2], "-o", tmp_path / "x", *QUICK)
    assert (done.status, "a linearised network cannot be permuted" in done.err) == (1, True)


def test_independent_networks_come_nearer(cli: Cli, tmp_path: Path) -> None:
    for seed in (0, 1):
        made = cli(*TRAIN, "--seed", seed, "--out", tmp_path / f"run{seed}", "-N", "batch_norm=true")
        assert made.status == 0, made.err
    pair = (tmp_path / "run0", tmp_path / "run1")
    (record,) = cli("align", *pair, "-o", tmp_path / "aligned", *QUICK).records
    assert record["distance"] < record["distance_before"]
    assert cli("predict", tmp_path / "aligned", "-o", tmp_path / "p.h5", *QUICK).status == 0
