"""report: a folder of runs as one page, from nothing, again, in part, and interrupted."""

import base64
import contextlib
import csv
import io
import json
import math
import re
import shlex
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from landscape_cli.cli import app
from landscape_cli.jobs.linearizing import summaries_of
from landscape_cli.jobs.report_cast import cast_of
from landscape_cli.plots import style
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.embeddings import Embedding
from landscape_cli.store.locks import exclusive
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES, TRAIN, Cli

EVIL = '<i>a&b "c" it\'s'  # the folder of the runs: of a page, of a shell and of a query
FEW = ("--samples", "40", "--kernel-samples", "4", "--threads", "1", "--device", "cpu", "--no-progress")
ALL = ["barriers", "compare", "kernels", "velocity", "predict", "distances", "embedding", "progress", "trajectories",
       "clusters"]  # fmt: skip


class Page(HTMLParser):
    """What a reader finds: panels with their pictures, links, problems, text."""

    VOID = frozenset({"meta", "img", "br", "input", "link"})

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.panels: dict[str, bool] = {}
        self.links: dict[str, str] = {}
        self.texts: dict[str, list[str]] = {}
        self.panel = ""
        self.feed(file.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "figure":
            self.panel = found["id"]
            self.panels[self.panel] = False
        elif tag == "img" and found["src"].startswith("data:image/svg+xml;base64,"):
            self.panels[self.panel] = True
        elif tag == "a" and "download" in found:
            self.links[found["download"]] = found["href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    @property
    def problems(self) -> str:
        return "\n".join([*self.texts.get("p", []), *self.texts.get("li", [])])

    @property
    def commands(self) -> list[str]:
        """The lines of the list of all commands, the page's last."""
        return self.texts["pre"][-1].splitlines()


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A parent, two and two children, a linearised run with its partner, and their report: its folder, its record."""
    runs = tmp_path_factory.mktemp("study") / EVIL
    parent = runs / "parent"
    few = ("--threads", "1", "--device", "cpu", "--no-progress")
    linearized = io.StringIO()
    for command in (
        [*TRAIN, "--epochs", "2", "--checkpoints", "every:1ep", "--out", parent, "-q"],
        ["spawn", parent, "--at", "0ep,1ep", "--children", "2", "--checkpoints", "every:1ep", "-q", *few],
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            assert app.run([str(word) for word in command]) == 0
    with contextlib.redirect_stdout(linearized):
        words = ["linearize", parent, "--at", "1ep", "--lr", "0.05", "--batch-size", "128", "--epochs", "2", "--jobs",
                 "1", "--low-lr", *few, "--format", "jsonl"]  # fmt: skip
        assert app.run([str(word) for word in words]) == 0
    with contextlib.redirect_stdout(io.StringIO()):
        assert app.run(["report", str(runs), *FEW, "-q"]) == 0
    records = [json.loads(line) for line in linearized.getvalue().splitlines()]
    return runs, [record for record in records if record["kind"] == "linearization"]


Study = tuple[Path, list[dict[str, Any]]]


def recorded_by(runs: Path) -> list[str]:
    """What made the parent and the linearised run, as they say."""
    made = (
        Run.open(run).document["command"]
        for run in (cast_of([runs]).parents[0].path, cast_of([runs]).linearized[0].path)
    )
    return list(dict.fromkeys(made))


def never(monkeypatch: pytest.MonkeyPatch, message: str = "measured anew") -> None:
    """No step may run; the report itself may."""

    def run(arguments: list[str]) -> int:
        raise AssertionError(f"{message}: {arguments[0]}")

    # The fixture `cli` holds the real one already.
    monkeypatch.setattr(app, "run", run)


def test_one_page_holds_every_panel(study: Study) -> None:
    runs, _ = study
    page = Page(runs / "report" / "index.html")
    assert page.panels == dict.fromkeys(
        ("training", "linearized", "barriers", "compare", "kernels", "velocity", "embedding-embedding",
         "embedding-stress", "progress", "trajectories", "clusters"), True,
    )  # fmt: skip
    for name in page.panels:
        assert (runs / "report" / f"{name}.svg").read_bytes().startswith(b"<?xml")
    for name in ("fort", "mao"):
        for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
            assert (runs / "report" / f"{name}{suffix}").read_bytes().startswith(magic)
            assert f"{name}{suffix}" in page.links


def test_names_are_text_and_not_markup(study: Study) -> None:
    text = (study[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert "<i>" not in text
    assert "&lt;i&gt;a&amp;b" in text


def test_numbers_beside_the_pictures_are_those_that_were_measured(study: Study) -> None:
    runs, _ = study
    folder = runs / "report"
    table = rows_of(folder / "runs.csv")
    assert {row["path"] for row in table} == {str(path) for path in runs.iterdir() if path.name != "report"}
    assert {row["path"]: float(row["test_error"]) for row in table} == {
        row["path"]: Run.open(Path(row["path"])).document["result"]["test_error"] for row in table
    }
    for name, files in {
        "barriers": ("barriers", "paths"), "compare": ("distances",), "kernels": ("kernels",),
        "velocity": ("velocity",), "progress": ("progress",),
    }.items():  # fmt: skip
        records = [record for file in files for record in jsonl(folder / f"{file}.jsonl")]
        rows = rows_of(folder / f"{name}.csv")
        assert len(rows) == len(records) > 0
        numbers = 0
        for row, record in zip(rows, records, strict=True):
            for key, value in record.items():
                if isinstance(value, float | int) and not isinstance(value, bool):
                    assert type(value)(row[key]) == value
                    numbers += 1
        assert numbers >= len(records)


def test_every_picture_has_its_numbers(study: Study) -> None:
    runs, _ = study
    folder = runs / "report"
    page = Page(folder / "index.html")
    for name in page.panels:
        assert f"{name}.csv" in page.links
        held = base64.b64decode(page.links[f"{name}.csv"].partition("base64,")[2]).decode()
        assert held == (folder / f"{name}.csv").read_text(encoding="utf-8")
    metrics = jsonl(runs / "parent" / "metrics.jsonl")
    drawn = [float(row["y"]) for row in rows_of(folder / "training.csv") if row["panel"].startswith("error")]
    found = sorted(100 * record[key] for record in metrics for key in ("train_error", "test_error") if key in record)
    assert sorted(drawn) == pytest.approx(found)
    clusters = Clusters.open(folder / "clusters.h5")
    rows = rows_of(folder / "clusters.csv")
    assert [float(row["distance"]) for row in rows] == clusters.linkage[:, 2].tolist()
    assert {row[side] for row in rows for side in "ab"} >= set(clusters.labels)
    stress = Embedding.open(folder / "embedding.h5").explained_stress
    shown = [float(row["y"]) for row in rows_of(folder / "embedding-stress.csv") if row["series"] == "stress"]
    assert shown == pytest.approx(stress[: len(shown)])


def test_linearised_runs_are_summed_up_as_linearize_did(study: Study) -> None:
    runs, printed = study
    cast = cast_of([runs])
    assert (len(cast.parents), len(cast.children), len(cast.linearized), len(cast.low_rate)) == (1, 4, 1, 1)
    names = {"path", "at"}  # it was asked for in epochs
    found = summaries_of(cast.linearized, cast.low_rate)
    assert [{k: v for k, v in r.items() if k not in names} for r in found] == [
        {k: v for k, v in r.items() if k not in names} for r in printed
    ]
    assert found[0]["low_lr_runs"] is not None
    (alone,) = summaries_of(cast.linearized, ())
    assert alone["low_lr_runs"] is None
    assert "advantage" not in alone


def test_the_commands_on_the_page_make_what_it_shows(study: Study, cli: Cli) -> None:
    runs, _ = study
    folder = runs / "report"
    lines = Page(folder / "index.html").commands
    words = [shlex.split(line) for line in lines]
    recorded = recorded_by(runs)
    assert lines[: len(recorded)] == recorded
    words = words[len(recorded) :]
    assert [line[1] for line in words if line[1] != "plot"] == [
        "barrier", "compare", "kernel-dist", "kernel-velocity", "predict", "distances", "inpca", "progress",
        "trajectories", "cluster",
    ]  # fmt: skip
    for line in words:
        assert line[0] == "landscape"
        assert cli(line[1], "--help").status == 0
    compare = next(line for line in words if line[1] == "compare")
    assert compare[-2] == ">"
    done = cli(*compare[1:-2])
    kept = jsonl(Path(compare[-1]))
    assert [r["weight_distance"] for r in done.records] == [r["weight_distance"] for r in kept]
    predict = next(line for line in words if line[1] == "progress")
    assert cli(*predict[1:-2]).records == jsonl(Path(predict[-1]))
    drawn = next(line for line in words if line[1] == "plot" and "progress" in line)
    before = Path(drawn[-1]).read_text(encoding="utf-8")
    assert cli(*drawn[1:], "--force").status == 0
    place = re.compile(r"<dc:date>.*?</dc:date>")
    assert place.sub("", Path(drawn[-1]).read_text(encoding="utf-8")) == place.sub("", before)


def test_again_nothing_is_measured_anew(study: Study, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = study
    before = {file: file.read_bytes() for file in (runs / "report").glob("*.jsonl")}
    never(monkeypatch)
    done = cli("report", runs, *FEW, "--format", "jsonl")
    assert done.status == 0, done.err
    assert "to be measured" not in done.err
    assert done.records[0]["panels"] == 11
    assert {file: file.read_bytes() for file in before} == before
    plan = cli("report", runs, *FEW, "--dry-run", "--format", "jsonl").records
    assert [(step["name"], step["state"], step["passes"]) for step in plan] == [(name, "there", 0) for name in ALL]


def test_what_depends_on_a_changed_choice_is_measured_anew(study: Study, cli: Cli) -> None:
    runs, _ = study
    other = ["30" if word == "40" else word for word in FEW]
    plan = cli("report", runs, *other, "--dry-run", "--format", "jsonl").records
    states = {step["name"]: step["state"] for step in plan}
    assert {name for name, state in states.items() if state == "there"} == {"kernels", "velocity"}
    cheap = {"distances", "embedding", "progress", "trajectories", "clusters"}
    assert all((step["passes"] > 0) == (states[step["name"]] == "to do") for step in plan if step["name"] not in cheap)


def test_a_step_goes_on_from_what_an_earlier_one_made_anew(study: Study, cli: Cli, tmp_path: Path) -> None:
    runs, _ = study
    folder = Path(shutil.copytree(runs / "report", tmp_path / "report"))
    steps = "barriers,compare,kernels,velocity,trajectories,clusters,embedding"
    for count in ("30", "20"):
        few = [count if word == "40" else word for word in FEW]
        done = cli("report", runs, "--out", folder, *few, "--without", steps, "--format", "jsonl")
        assert done.status == 0, done.err
        assert done.records[0]["problems"] is None
        assert Predictions.open(folder / "predictions-test.h5").samples == int(count)
        assert "progress: " in done.err


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """The committed sample runs: an own copy."""
    return Path(shutil.copytree(SAMPLES, tmp_path / "runs"))


def test_only_what_there_is(cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never(monkeypatch)
    done = cli("report", samples, "--only-existing", *FEW, "--format", "jsonl")
    assert done.status == 0, done.err
    page = Page(samples / "report" / "index.html")
    assert [name for name, drawn in page.panels.items() if drawn] == ["training"]
    assert "not measured yet" in page.problems
    assert len(done.records[0]["problems"]) == len(page.panels) - 1


def test_a_dry_run_writes_nothing(cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never(monkeypatch)
    before = sorted(samples.rglob("*"))
    done = cli("report", samples, "--dry-run", *FEW, "--format", "jsonl")
    assert done.status == 0, done.err
    assert sorted(samples.rglob("*")) == before
    assert all(record["state"] == "to do" for record in done.records)
    assert "not possible: trajectories" in done.err
    for record in done.records:
        words = shlex.split(record["command"])
        assert cli(words[1], "--help").status == 0


def test_interrupted_it_goes_on(cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("report", samples, "--without", "compare,kernels,embedding", *FEW, "--format", "jsonl")
    real, called = app.run, []

    def stopped(arguments: list[str]) -> int:
        called.append(arguments[0])
        return 130 if arguments[0] == "distances" else real(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(app, "run", stopped)
        done = cli(*asked)
    assert done.status == 130
    assert called == ["barrier", "predict", "distances"]
    assert not (samples / "report" / "index.html").exists()

    called.clear()

    def counted(arguments: list[str]) -> int:
        called.append(arguments[0])
        return real(arguments)

    monkeypatch.setattr(app, "run", counted)
    done = cli(*asked)
    assert done.status == 0, done.err
    assert called == ["distances", "progress"]
    assert all(Page(samples / "report" / "index.html").panels.values())


def test_a_damaged_checkpoint_is_said_and_the_rest_is_there(cli: Cli, samples: Path) -> None:
    (damaged,) = (samples / "late-a" / "checkpoints").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:1000])
    asked = ("report", samples, "--without", "compare,kernels,embedding", *FEW, "--format", "jsonl")
    for _ in range(2):  # what was missing in a result is said of the kept one too
        done = cli(*asked)
        assert done.status == 0, done.err
        page = Page(samples / "report" / "index.html")
        assert page.panels["barriers"]
        assert page.panels["progress"]
        assert page.problems.count("late-a/checkpoints/step-00000330.safetensors is damaged") == 2
    assert len(rows_of(samples / "report" / "barriers.csv")) > 1


def test_without_matplotlib_the_numbers_are_there(cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "available", lambda: False)
    done = cli("report", samples, "--without", "predict,kernels,compare", *FEW, "--format", "jsonl")
    assert done.status == 0, done.err
    page = Page(samples / "report" / "index.html")
    assert page.panels == {"training": False, "barriers": False}
    assert page.problems.count("figures need matplotlib") == 2
    assert len(jsonl(samples / "report" / "barriers.jsonl")) == 2


def test_a_failed_first_step_is_the_reason_of_the_later_ones(
    cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(arguments: list[str]) -> int:
        sys.stderr.write("error: the disk is full\n")
        return 1

    monkeypatch.setattr(app, "run", failing)
    done = cli("report", samples, *FEW, "--format", "jsonl")
    assert done.status == 0
    told = [problem.rpartition(": ")[2] for problem in done.records[0]["problems"]]
    assert set(told) == {"the disk is full"}
    assert json.loads((samples / "report" / "made.json").read_text(encoding="utf-8"))["steps"] == {}


@pytest.mark.parametrize("text", ["[]", "{", '{"barriers": "old"}'])
def test_a_damaged_ledger_is_no_ledger(text: str, cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (samples / "report").mkdir()
    (samples / "report" / "made.json").write_text(text, encoding="utf-8")
    never(monkeypatch)
    assert cli("report", samples, *FEW, "--only-existing").status == 0


def test_what_cannot_be_meant_is_refused(cli: Cli, samples: Path, tmp_path: Path) -> None:
    done = cli("report", samples, "--without", "barrier")
    assert (done.status, done.out) == (2, "")
    assert "there is no such step" in done.err
    assert "barriers" in done.err
    theirs = samples / "parent" / "checkpoints"
    done = cli("report", theirs)
    assert done.status == 2
    assert "--network is missing" in done.err
    assert "--data is missing" in cli("report", theirs, "--network", "simple-cnn").err
    assert cli("report", tmp_path / "nowhere").status == 1
    assert cli("report", samples, "--split", "both").status == 2
    assert not (samples / "report").exists()


def test_checkpoints_of_other_tools_get_what_they_can(cli: Cli, samples: Path, tmp_path: Path) -> None:
    theirs = Path(shutil.copytree(samples / "parent" / "checkpoints", tmp_path / "theirs"))
    done = cli("report", theirs, "--network", "simple-cnn", "--width", 0.5, "--data", "digits", *FEW, "--format",
               "jsonl")  # fmt: skip
    assert done.status == 0, done.err
    (record,) = done.records
    page = Page(theirs / "report" / "index.html")
    assert page.panels == dict.fromkeys(("kernels", "embedding-embedding", "embedding-stress", "progress"), True)
    assert record["problems"] is None
    assert any(text.startswith("kernel velocity: needs epochs") for text in record["missing"])
    assert "kernel velocity: needs epochs" in page.problems
    progress = [r["progress"] for r in jsonl(theirs / "report" / "progress.jsonl")]
    assert len(progress) == 3
    assert all(math.isfinite(value) for value in progress)


def test_two_networks_of_one_step_are_a_pair_whose_numbers_are_told(cli: Cli, samples: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("early-a", "late-a"):
        (file,) = (samples / name / "checkpoints").iterdir()
        shutil.copy(file, theirs / f"{name}.safetensors")
    done = cli("report", theirs, "--network", "simple-cnn", "--width", 0.5, "--data", "digits", *FEW, "--format",
               "jsonl")  # fmt: skip
    assert done.status == 0, done.err
    page = Page(theirs / "report" / "index.html")
    assert page.panels == {"barriers": True, "compare": False}
    (record,) = jsonl(theirs / "report" / "distances.jsonl")
    for name in ("function", "relu", "kernel", "weight"):
        assert f"{record[f'{name}_distance']:.3g}" in page.problems
    assert "compare.csv" in page.links
    assert "1 place of other tools" in done.err


def test_all_that_is_asked_is_in_the_words_of_the_commands(
    cli: Cli, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never(monkeypatch)
    network = ("--network", "simple-cnn", "--width", "0.123456789")
    asked = ("report", samples, *network, "--precision", "float64", "--device", "cpu", "--dry-run", "--format", "jsonl")
    plans = [cli(*asked, "--seed", 3)]
    monkeypatch.setenv("LANDSCAPE_SEED", "3")
    plans.append(cli(*asked))
    assert [one["command"] for one in plans[0].records] == [one["command"] for one in plans[1].records]
    measuring = {one["name"]: shlex.split(one["command"]) for one in plans[0].records}
    for name, words in measuring.items():
        said = name in ("barriers", "compare", "kernels", "velocity", "predict")
        assert ("--seed" in words) is said
        assert ("--precision" in words) is (said and name != "compare")  # whose precision is not to be chosen
        assert ("width=0.123456789" in words) is said


def test_an_estimate_is_no_more_exact_than_it_can_be(cli: Cli, samples: Path) -> None:
    done = cli("report", samples, *FEW, "--dry-run", "--format", "jsonl")
    seconds = [one["seconds"] for one in done.records]
    assert all(second > 0 and float(f"{second:.2g}") == second for second in seconds)
    (told,) = re.findall(r"about ([0-9.]+) s here, with the pictures", done.err)
    assert float(f"{float(told):.2g}") == float(told)
    assert float(told) > sum(seconds)  # the pictures are in it


def test_two_reports_are_not_made_in_one_folder_at_once(cli: Cli, samples: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "report"):
        done = cli("report", samples, "--out", tmp_path / "report", *FEW, "--only-existing")
    assert done.status == 1
    assert "is being written by process" in done.err
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    done = cli("report", samples, "--out", file, *FEW, "--only-existing")
    assert (done.status, file.read_text(encoding="utf-8")) == (1, "x")
    assert "it is a file" in done.err


def test_what_is_left_out_is_said(cli: Cli, samples: Path) -> None:
    Run.open(samples / "late-b").update(status="diverged")
    (samples / "late-a" / "run.json").write_text("{", encoding="utf-8")
    done = cli("report", samples, *FEW, "--only-existing", "--format", "jsonl")
    assert done.status == 0
    told = done.records[0]["missing"]
    assert f"{samples / 'late-b'}: it diverged" in told
    assert f"{samples / 'late-b'}: it diverged" in Page(samples / "report" / "index.html").problems
    assert any("late-a/run.json is damaged" in text for text in told)
    assert done.records[0]["runs"] == 3
