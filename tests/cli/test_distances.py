import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.cli.distances import parse_shard
from landscape_cli.cli.prediction_options import parse_names, parse_size
from landscape_cli.errors import UsageError
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.tiles import TileFolder
from tests.conftest import Cli
from tests.jobs.made_predictions import plain_distances, random_log_probs, write_predictions

RUN = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_predictions(
        tmp_path / "p.h5", random_log_probs(6, 12, 3), columns={"opt": ["sgd", "adam"] * 3}
    ).path  # fmt: skip


def test_a_matrix_and_its_record(cli: Cli, file: Path) -> None:
    done = cli("distances", file, "--truth", "--ignorance", "--geodesic", "2", *RUN)
    assert done.status == 0
    (record,) = done.records
    out = file.with_name("p-bhattacharyya.h5")
    assert record["kind"] == "distances"
    assert (record["path"], record["distance"], record["models"], record["references"]) == (
        str(out), "bhattacharyya", 6, 4,
    )  # fmt: skip
    assert (record["samples"], record["classes"], record["infinite"], record["cap"]) == (12, 3, 0, None)
    assert record["tiles"] == 1
    assert record["bytes"] == out.stat().st_size
    matrix = Matrix.open(out)
    values = matrix.read()
    assert record["max"] == values.max()
    assert record["mean"] == pytest.approx(values[np.triu_indices(10, 1)].mean())
    assert matrix.attributes["command"].startswith("landscape")
    again = cli("distances", file, "--truth", "--ignorance", "--geodesic", "2", *RUN)
    assert again.status == 0
    assert "nothing to do" in again.err
    assert {k: v for k, v in again.records[0].items() if k != "seconds"} == {
        k: v for k, v in record.items() if k != "seconds"
    }


def test_another_configuration_is_a_conflict_until_forced(cli: Cli, file: Path) -> None:
    out = file.with_name("d.h5")
    assert cli("distances", file, "-o", out, *RUN).status == 0
    done = cli("distances", file, "-o", out, "--distance", "skl", *RUN)
    assert done.status == 1
    assert "distance is bhattacharyya there and skl here" in done.err
    assert cli("distances", file, "-o", out, "--distance", "skl", "--force", *RUN).status == 0
    assert Matrix.open(out).distance == "skl"


def test_models_samples_and_classes_are_chosen(cli: Cli, file: Path) -> None:
    done = cli("distances", file, "--where", "opt == 'sgd'", "--samples", "5", "--project-classes", "2", *RUN)
    assert done.status == 0
    assert (done.records[0]["models"], done.records[0]["samples"]) == (3, 5)
    assert list(Matrix.open(file.with_name("p-bhattacharyya.h5")).rows.column("opt")) == ["sgd"] * 3


def test_two_files_give_the_matrix_between_them(cli: Cli, file: Path) -> None:
    other = write_predictions(file.with_name("q.h5"), random_log_probs(2, 12, 3, seed=1), name="other")
    done = cli("distances", file, other.path, "--distance", "hellinger", *RUN)
    assert done.status == 0
    assert done.records[0]["columns"] == 2
    matrix = Matrix.open(file.with_name("p-q-hellinger.h5"))
    expected = plain_distances(random_log_probs(6, 12, 3), other.read(), "hellinger")
    np.testing.assert_allclose(matrix.read(), expected, rtol=1e-9)
    third = cli("distances", file, other.path, file, *RUN)
    assert third.status == 2
    assert "3 files" in third.err


def test_each_file_of_a_pipe_gives_a_matrix(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_predictions(file.with_name("q.h5"), random_log_probs(2, 7, 3), split="train").path
    lines = [json.dumps({"kind": "predictions", "path": str(p), "sweep": "a"}) + "\n" for p in (file, other)]
    monkeypatch.setattr("sys.stdin", lines_as_stdin(lines))
    done = cli("distances", *RUN)
    assert done.status == 0
    assert [(r["models"], r["sweep"]) for r in done.records] == [(6, "a"), (2, "a")]
    monkeypatch.setattr("sys.stdin", lines_as_stdin(lines))
    assert "2 matrices cannot go to one --out" in cli("distances", "-o", file.with_name("x.h5"), *RUN).err
    monkeypatch.setattr("sys.stdin", lines_as_stdin(['{"kind": "barrier", "path": "x"}\n']))
    done = cli("distances", *RUN)
    assert done.status == 2
    assert "kind 'barrier'" in done.err
    monkeypatch.setattr("sys.stdin", lines_as_stdin([], terminal=True))
    done = cli("distances", *RUN)
    assert done.status == 2
    assert "no file is given" in done.err


def lines_as_stdin(lines: list[str], *, terminal: bool = False) -> object:
    class Stdin:
        def __iter__(self) -> object:
            return iter(lines)

        def isatty(self) -> bool:
            return terminal

    return Stdin()


def test_infinite_pairs_are_told(cli: Cli, file: Path) -> None:
    with np.errstate(divide="ignore"):
        write_predictions(file.with_name("sure.h5"), np.log(np.eye(3)[[[0], [1], [2]]]), labels=np.array([0]))
    done = cli("distances", file.with_name("sure.h5"), *RUN)
    assert done.status == 0
    assert "3 pairs are infinitely far apart, the first model 0 and model 1; --cap X" in done.err
    assert done.records[0]["infinite"] == 3
    capped = cli("distances", file.with_name("sure.h5"), "--cap", "50", "-o", file.with_name("c.h5"), *RUN)
    assert (capped.records[0]["infinite"], capped.records[0]["cap"], capped.records[0]["max"]) == (3, 50.0, 50.0)


def test_a_dry_run_writes_nothing(cli: Cli, file: Path) -> None:
    done = cli("distances", file, "--dry-run", "--tile", "4", "--truth", *RUN)
    (plan,) = done.records
    assert (plan["kind"], plan["tiles"], plan["tiles_done"], plan["tile"]) == ("plan", 3, 0, 4)
    assert plan["operations"] == 21 * 12 * 3
    assert plan["bytes"] == 49 * 8
    assert plan["memory"] > 0
    assert [p.name for p in file.parent.iterdir()] == ["p.h5"]


def test_shards_and_the_command_that_joins_them(cli: Cli, file: Path) -> None:
    out = file.with_name("p-bhattacharyya.h5")
    for part in ("1/2", "2/2"):
        done = cli("distances", file, "--tile", "2", "--shard", part, *RUN)
        assert (done.status, done.records[0]["kind"], done.records[0]["shard"]) == (0, "distances-shard", part)
        assert not out.exists()
    assert cli("distances", file, "--dry-run", *RUN).records[0]["tiles_done"] == 6
    assert cli("distances", file, *RUN).status == 0
    assert out.exists()
    assert not TileFolder(out).path.exists()


def test_ctrl_c_leaves_what_the_same_command_continues(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TileFolder.write

    def write(*a: Any, **k: Any) -> None:
        real(*a, **k)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TileFolder, "write", write)
    done = cli("distances", file, "--tile", "2", *RUN)
    assert done.status == 130
    assert "finished tiles are kept" in done.err
    monkeypatch.setattr(TileFolder, "write", real)
    assert cli("distances", file, "--dry-run", *RUN).records[0]["tiles_done"] == 1
    assert cli("distances", file, *RUN).status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["nowhere.h5"], 1, "nowhere.h5 does not exist"),
        (["{file}", "--where", "seed > 99"], 2, "seed > 99"),
        (["{file}", "--where", "sed > 9"], 2, "seed"),
        (["{file}", "--samples", "13"], 2, "has 12 samples, not 13"),
        (["{file}", "--where", "seed == 0"], 2, "no pair"),
        (["{file}", "--project-classes", "4"], 2, "projected onto 4"),
        (["{file}", "--memory", "1MB"], 2, "the least that works is --memory"),
        (["{file}", "--memory", "much"], 2, "no size in bytes"),
        (["{file}", "--shard", "3/2"], 2, "no part of a whole"),
        (["{file}", "--device", "cuda:99"], 1, "cuda:99"),
        (["{text}"], 1, "no HDF5"),
    ],
)
def test_bad_input_is_one_line_and_a_hint(cli: Cli, file: Path, arguments: list[str], status: int, told: str) -> None:
    text = file.with_name("text.h5")
    text.write_text("text")
    done = cli("distances", *(a.format(file=file, text=text) for a in arguments))
    assert done.status == status
    assert told in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert sorted(p.name for p in file.parent.iterdir()) == ["p.h5", "text.h5"]


def test_sizes_names_and_shards() -> None:
    assert [parse_size(t) for t in ("2GB", "500 MB", "1.5GiB", "7", "64kb")] == [
        2 * 10**9, 5 * 10**8, 3 * 2**29, 7, 64_000,
    ]  # fmt: skip
    for text in ("", "0", "-1GB", "2 parsecs", "GB"):
        with pytest.raises(UsageError):
            parse_size(text)
    assert parse_names(None) == []
    assert parse_names(" a,b , a,") == ["a", "b"]
    assert parse_shard(None) is None
    for text in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(UsageError):
            parse_shard(text)
