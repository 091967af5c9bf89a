"""``landscape trajectories``, ``cluster`` and ``centroid`` from the shell."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_cli.cli.centroid import parse_kinds
from landscape_cli.errors import UsageError
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.trajectories import Trajectories
from tests.conftest import Cli
from tests.jobs.made_runs import write_sweep


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Predictions of eight runs of five checkpoints."""
    return write_sweep(tmp_path / "test.h5").path


def test_from_runs_to_clusters(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("trajectories", file, "--group-by", "network,optimizer", "--points", 20)
    assert done.status == 0
    assert "pairs of runs share between" in done.err
    (record,) = done.records
    assert record["kind"] == "trajectories"
    assert record["path"] == str(file.with_name("test-trajectories.h5"))
    assert (record["runs"], record["checkpoints"], record["points"]) == (8, 40, 20)
    assert 0 < record["shared_least"] < record["shared_most"] <= 1
    assert len(Trajectories.open(Path(record["path"])).averages) > 0
    monkeypatch.setattr("sys.stdin", io.StringIO(done.out))
    done = cli("cluster", "--clusters", 2, "--factors", "network,seed", "--repeats", 2, "--trees", 10)
    assert done.status == 0
    (record,) = done.records
    assert (record["kind"], record["items"], record["clusters"]) == ("clusters", 8, 2)
    assert sum(record["sizes"]) == 8
    assert record["importance"].keys() == {"network", "seed"}
    assert record["path"] == str(file.with_name("test-trajectories-clusters.h5"))
    assert len(Clusters.open(Path(record["path"])).order) == 8


def test_records_go_to_files(cli: Cli, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.h5"
    assert cli("trajectories", file, "-o", out, "--along", tmp_path / "along.jsonl", "--mean").status == 0
    lines = (tmp_path / "along.jsonl").read_text().splitlines()
    assert {json.loads(line)["kind"] for line in lines} == {"trajectory-point", "trajectory-average"}
    done = cli("cluster", out, "--members", tmp_path / "m.jsonl", "-q")
    assert done.out.strip() == str(tmp_path / "t-clusters.h5")
    records = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [record["position"] for record in records] == list(range(8))
    again = cli("trajectories", file, "-o", out, "--mean")
    assert again.status == 0
    assert "nothing to do" in again.err
    assert cli("trajectories", file, "-o", out).status == 1


def test_trajectories_can_be_embedded(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("trajectories", file, "--geodesic")
    monkeypatch.setattr("sys.stdin", io.StringIO(done.out))
    done = cli("inpca", "-k", 2)
    assert done.status == 0, done.err
    assert done.records[0]["kind"] == "embedding"


def test_means_are_predictions(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("centroid", file, "--group-by", "network,step", "--kind", "arithmetic,bhattacharyya")
    assert done.status == 0
    (record,) = done.records
    assert record["kind"] == "predictions"
    assert len(record["centroids"]) == 20
    assert record["centroids"][0].keys() >= {"name", "centroid", "models", "progress", "error", "loss"}
    assert len(Predictions.open(Path(record["path"]))) == 20
    monkeypatch.setattr("sys.stdin", io.StringIO(done.out))
    done = cli("trajectories")
    assert done.status == 0
    assert done.records[0]["runs"] == 4
    shown = cli("centroid", file, "--where", "step == 40", "-o", file.with_name("c.h5"), "--format", "table")
    assert shown.out.count("mean of all models") == 7


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["trajectories", "--by", ","], 2, "--by names no column"),
        (["trajectories", "--by", "arch"], 2, "no column 'arch'"),
        (["trajectories", "--where", "step == 40"], 1, "single checkpoint"),
        (["trajectories", "--where", "seed == 0 and network == 'mlp' and optimizer == 'sgd'"], 2, "holds one run"),
        (["trajectories", "--index", "loss"], 2, "loss"),
        (["trajectories", "--geodesic", "--distance", "skl"], 2, "--geodesic needs"),
        (["cluster", "--clusters", "0"], 2, "--clusters"),
        (["cluster", "--clusters", "50"], 2, "cannot be cut into 50"),
        (["cluster", "--factors", "arch"], 2, "no column 'arch'"),
        (["cluster", "--covariates", "loss"], 2, "means nothing without"),
        (["cluster", "--memory", "1kB"], 2, "takes"),
        (["centroid", "--kind", "median"], 2, "there is no such mean"),
        (["centroid", "--kind", ","], 2, "names no mean"),
        (["centroid", "--weights", "network"], 2, "holds texts"),
        (["centroid", "--where", "step == 7"], 2, "no model"),
    ],
)
def test_bad_words(cli: Cli, file: Path, arguments: list[str], status: int, told: str) -> None:
    done = cli(arguments[0], file, *arguments[1:])
    assert (done.status, done.out) == (status, "")
    assert told in done.err


def test_several_files_and_none(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("trajectories", "cluster", "centroid"):
        assert cli(command, file, file, "-o", "x.h5").status == 2
        assert cli(command, file.with_name("nothing.h5")).status == 1
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert "nothing came through the pipe" in cli(command).err
        monkeypatch.setattr("sys.stdin", io.StringIO('{"kind": "run", "path": "x"}\n'))
        assert "a record of kind 'run'" in cli(command).err


def test_kinds_of_means() -> None:
    assert len(parse_kinds("all")) == 7
    assert parse_kinds("sqrt,sqrt") == ("sqrt",)
    with pytest.raises(UsageError, match="mode"):
        parse_kinds("mode")


def test_help_and_usage_errors_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from landscape_cli.cli.app import run\n"
        "for words in (['trajectories', '--help'], ['cluster', '-h'], ['centroid', '-h'], ['centroid', 'x', '--kind', 'y']):\n"
        "    run(words)\n"
        "heavy = [m for m in ('torch', 'scipy', 'sklearn', 'h5py', 'matplotlib', 'numba') if m in sys.modules]\n"
        "print('loaded', heavy, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "loaded []"
