import io
import json
import sys
from pathlib import Path

import h5py
import pytest

from landscape_cli.plots import style
from tests.conftest import Cli
from tests.plots.made_results import (
    barrier_records,
    clusters,
    embedding,
    progress_records,
    with_views,
    write_trajectories,
)

pytest.importorskip("matplotlib", reason="figures are an extra")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    path = tmp_path / "inpca.h5"
    with_views(embedding()).write(path)
    return path


def lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_an_embedding_goes_beside_its_file(cli: Cli, embedded: Path) -> None:
    done = cli("plot", embedded)
    assert done.records == [
        {"kind": "figure", "path": str(embedded.with_suffix(".png")), "figure": "embedding", "source": str(embedded),
         "skipped": False},
    ]  # fmt: skip
    assert embedded.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    for kind in ("spectrum", "stress", "aligned", "reading"):
        (record,) = cli("plot", embedded, "--kind", kind).records
        assert record["path"] == str(embedded.with_name(f"inpca-{kind}.png"))


def test_the_same_again_is_a_skip_and_another_a_conflict(cli: Cli, embedded: Path) -> None:
    out = embedded.with_name("a.svg")
    assert cli("plot", embedded, "-o", out, "--color", "step").status == 0
    before = out.read_bytes()
    again = cli("plot", embedded, "-o", out, "--color", "step")
    assert (again.records[0]["skipped"], "shows this already" in again.err) == (True, True)
    other = cli("plot", embedded, "-o", out, "--color", "seed")
    assert (other.status, out.read_bytes()) == (1, before)
    assert "exists and shows something else" in other.err
    assert cli("plot", embedded, "-o", out, "--color", "seed", "--force").status == 0
    assert out.read_bytes() != before


def test_options_reach_the_figure(cli: Cli, embedded: Path) -> None:
    out = embedded.with_name("a.svg")
    done = cli(
        "plot", embedded, "-o", out, "--dims", "3,1", "--color", "network", "--marker", "seed", "--line", "none",
        "--where", "network != 'vit'", "--title", "A title of mine", "--width", "3.4", "--height", "4",
    )  # fmt: skip
    assert done.status == 0
    drawn = out.read_text(encoding="utf-8")
    for text in ("A title of mine", "InPC 3 (Σ₃ = 0.25, +)", "network:", "mlp", "seed:"):
        assert text in drawn
    assert "vit" not in drawn
    assert 'width="244.8pt" height="288pt"' in drawn


def test_a_page_to_turn(cli: Cli, embedded: Path) -> None:
    out = embedded.with_name("a.html")
    assert cli("plot", embedded, "-o", out, "--title", "mine & yours").status == 0
    assert "<title>mine &amp; yours</title>" in out.read_text(encoding="utf-8")
    assert cli("plot", embedded, "-o", out, "--title", "mine & yours").records[0]["skipped"] is True
    assert cli("plot", embedded, "-o", embedded.with_name("b.html"), "--kind", "aligned").status == 0
    still = embedded.with_name("c.html")  # nothing to turn: a page to zoom into, with its numbers
    assert cli("plot", embedded, "-o", still, "--kind", "spectrum").status == 0
    assert "<svg" in still.read_text(encoding="utf-8")
    assert "--width means nothing for a page" in cli("plot", embedded, "-o", out, "--width", "4").err


def test_a_page_needs_no_matplotlib(cli: Cli, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli("plot", embedded, "-o", embedded.with_name("a.html")).status == 0
    done = cli("plot", embedded)
    assert (done.status, "figures need matplotlib" in done.err) == (1, True)
    assert "pip install 'landscape-cli[plot]'" in done.err


def test_a_pipe_of_records_names_the_file(cli: Cli, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, json.dumps({"kind": "embedding", "path": str(embedded), "dims": 4}) + "\n")
    assert cli("plot").records[0]["source"] == str(embedded)
    piped(monkeypatch, f"{embedded}\n")
    assert cli("plot", "-", "-q").out == f"{embedded.with_suffix('.png')}\n"


def test_progress_from_a_file_a_pipe_and_csv(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lines(tmp_path / "progress.jsonl", progress_records())
    (record,) = cli("plot", file, "--group-by", "network").records
    assert (record["figure"], record["path"]) == ("progress", str(tmp_path / "progress.png"))
    piped(monkeypatch, file.read_text())
    out = tmp_path / "a.svg"
    assert cli("plot", "-o", out, "--y", "error", "--color", "seed", "--where", "seed < 1").status == 0
    assert "3 runs" in out.read_text()
    piped(monkeypatch, file.read_text())
    assert cli("plot", "--force").records[0]["path"] == "progress.png"  # in the working directory
    names = [name for name in progress_records()[0] if name != "kind"]
    rows = [",".join(str(r[name]) for name in names) for r in progress_records()]
    table = tmp_path / "progress.csv"
    table.write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    again = tmp_path / "b.svg"
    assert cli("plot", table, "-o", again, "--y", "error", "--color", "seed", "--where", "seed < 1").status == 0
    assert again.read_bytes() == out.read_bytes()


def test_barriers_and_their_paths(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    barriers, points = barrier_records()
    files = [lines(tmp_path / "barriers.jsonl", barriers), lines(tmp_path / "paths.jsonl", points)]
    both = tmp_path / "both.svg"
    assert cli("plot", *files, "-o", both).status == 0
    assert "Error between two children" in both.read_text()
    assert "test error barrier" in both.read_text()
    piped(monkeypatch, files[0].read_text())
    alone = tmp_path / "alone.svg"
    assert cli("plot", "-", "-o", alone, "--where", "split == 'train'").status == 0
    assert "Error between two children" not in alone.read_text()
    assert "train error barrier" in alone.read_text()
    assert "none of the 8 records" in cli("plot", files[0], "--where", "split == 'both'").err


def test_trajectories(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trajectories.h5"
    write_trajectories(path)
    out = tmp_path / "a.svg"
    assert cli("plot", path, "-o", out, "--width", "3.4").records[0]["figure"] == "trajectories"
    assert "vit (1–2 runs)" in out.read_text()
    piped(monkeypatch, json.dumps({"kind": "trajectories", "path": str(path)}) + "\n")
    (record,) = cli("plot", "--y", "error", "--where", "seed == 1").records
    assert record["path"] == str(tmp_path / "trajectories.png")


def test_a_clustering(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clusters.h5"
    clusters().write(path)
    out = tmp_path / "a.svg"
    assert cli("plot", path, "-o", out, "--color", "arch").records[0]["figure"] == "dendrogram"
    assert "arch:" in out.read_text()
    assert "seed:" not in out.read_text()
    piped(monkeypatch, json.dumps({"kind": "clusters", "path": str(path)}) + "\n")
    (record,) = cli("plot", "--kind", "importance").records
    assert record["path"] == str(tmp_path / "clusters-importance.png")
    assert "did you mean 'arch'?" in cli("plot", path, "--color", "arhc", "--force").err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["inpca.h5", "-o", "a.gif"], 2, ".png, .svg, .pdf or, for a browser, .html"),
        (["inpca.h5", "--kind", "progress"], 2, "there is embedding, spectrum, stress, aligned, reading"),
        (["inpca.h5", "--kind", "pie"], 2, "'embedding', 'spectrum'"),
        (["inpca.h5", "--color", "nettwork"], 2, "did you mean 'network'?"),
        (["inpca.h5", "--marker", "nettwork"], 2, "did you mean 'network'?"),
        (["inpca.h5", "--line", "nettwork"], 2, "did you mean 'network'?"),
        (["inpca.h5", "--where", "nettwork == 'a'"], 2, "did you mean 'network'?"),
        (["inpca.h5", "--dims", "1,9"], 2, "1 to 4 are stored"),
        (["inpca.h5", "--dims", "first"], 2, "whole numbers"),
        (["inpca.h5", "--group-by", "network"], 2, "--group-by means nothing for figure 'embedding'"),
        (["inpca.h5", "--kind", "spectrum", "--color", "seed"], 2, "--color means nothing for figure 'spectrum'"),
        (["inpca.h5", "inpca.h5", "other.h5"], 2, "2 embedding files are given; a figure shows one"),
        (["inpca.h5", "progress.jsonl"], 2, "several kinds are given: embedding, progress"),
        (["nowhere.h5"], 1, "nowhere.h5 does not exist"),
        (["."], 1, "landscape predict . | landscape progress"),
        (["empty.jsonl"], 1, "empty.jsonl is empty"),
        (["broken.jsonl"], 1, "broken.jsonl: line 2 is no JSON record"),
        (["list.jsonl"], 1, "neither an HDF5 file nor a file of records"),
        (["noise.bin"], 1, "neither an HDF5 file nor a file of records"),
        (["predictions.h5"], 1, "predictions.h5"),
        (["distances.h5"], 1, "distances.h5"),
        (["names.csv"], 1, "a line of names and no record"),
        (["short.jsonl"], 1, "short.jsonl: line 1 is a barrier record without 'a'"),
        (["foreign.h5"], 2, "holds nothing that this toolkit wrote"),
        (["run.jsonl"], 2, "line 1 is a record of kind 'checkpoint'"),
        (["progress.jsonl", "--x", "hours"], 2, "'landscape progress --columns hours' puts it into the records"),
        (["progress.jsonl", "--where", "seed > 7"], 2, "none of the 24 records fulfils it"),
        (["-", "-"], 2, "'-' is given twice"),
        (["inpca.h5", "-o", "."], 2, "figures are written as"),
        (["inpca.h5", "-o", "folder.png"], 1, "it is a folder"),
    ],
)
def test_what_is_wrong_is_named(
    cli: Cli, embedded: Path, tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    (tmp_path / "other.h5").write_bytes(embedded.read_bytes())
    lines(tmp_path / "progress.jsonl", progress_records())
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_text(json.dumps(progress_records()[0]) + '\n{"kind": \n')
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    (tmp_path / "noise.bin").write_bytes(bytes(range(128, 256)))
    lines(tmp_path / "run.jsonl", [{"kind": "checkpoint", "path": "runs/a"}])
    lines(tmp_path / "short.jsonl", [{"kind": "barrier"}])
    (tmp_path / "names.csv").write_text("name,epoch,progress\n")
    (tmp_path / "folder.png").mkdir()
    for name in ("predictions", "distances", "foreign"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            if name != "foreign":
                file.attrs["kind"] = name
    done = cli("plot", *arguments)
    assert (done.status, told in " ".join(done.err.split())) == (status, True), done.err
    assert not (tmp_path / "inpca.png").exists()


def test_empty_and_wrong_pipes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "")
    assert "nothing came through the pipe" in cli("plot").err
    piped(monkeypatch, json.dumps({"kind": "checkpoint", "path": "a@2ep"}) + "\n")
    done = cli("plot")
    assert (done.status, "line 1 of the input is a record of kind 'checkpoint'" in done.err) == (2, True)
    assert "landscape predict a@2ep | landscape progress | landscape plot" in done.err
    piped(monkeypatch, "{broken\n")
    assert "line 1 of the input is no JSON record" in cli("plot").err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    done = cli("plot")
    assert (done.status, "no result is given" in done.err) == (2, True)


def test_without_matplotlib_it_says_how_to_get_it(cli: Cli, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "available", lambda: False)
    done = cli("plot", embedded, "--kind", "spectrum")
    assert (done.status, "pip install 'landscape-cli[plot]'" in done.err) == (1, True)
    assert not list(embedded.parent.glob("*.png"))


def test_an_embedding_of_one_dimension(cli: Cli, tmp_path: Path) -> None:
    embedding(dims=1).write(tmp_path / "one.h5")
    done = cli("plot", tmp_path / "one.h5")
    assert (done.status, "one dimension only" in done.err, "--kind spectrum" in done.err) == (2, True, True)
    assert cli("plot", tmp_path / "one.h5", "--kind", "spectrum").status == 0
