"""What every command does alike: help with true examples, output modes, statuses, settings."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from landscape_cli.cli import app as face
from landscape_cli.cli import info
from tests.conftest import SAMPLES, TRAIN, Cli

COMMANDS = {module.NAME: module for module in face.COMMANDS}
PAIR = [str(SAMPLES / "early-a"), str(SAMPLES / "early-b"), "--points", "3", "--refine", "0", "--split", "test"]


def test_every_command_is_registered_and_helped(cli: Cli) -> None:
    top = cli("--help")
    assert top.status == 0
    for name in COMMANDS:
        assert name in top.out
        done = cli(name, "-h")
        assert done.status == 0
        assert "Examples:" in done.out
        assert done.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_true(name: str) -> None:
    """Each example names commands and options that exist; what they need is tested elsewhere."""
    group = typer.main.get_command(face.app)
    examples = COMMANDS[name].EXAMPLES
    assert 2 <= len(examples) <= 5
    for example in examples:
        for part in example.split("|"):
            words = shlex.split(part.partition(">")[0])
            assert words[0] == "landscape"
            command = group.commands[words[1]]  # type: ignore[attr-defined]
            command.make_context(words[1], words[2:], resilient_parsing=False)


def test_version(cli: Cli) -> None:
    from landscape_cli import __version__

    assert cli("--version").out == f"landscape {__version__}\n"


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ([], lambda out: json.loads(out)["kind"] == "barrier"),  # piped: JSON lines
        (["--format", "jsonl"], lambda out: json.loads(out)["error_sup"] > 0.5),
        (["--format", "table"], lambda out: "error barrier" in out and "0.8" in out and "{" not in out),
        (["--format", "csv"], lambda out: float(next(csv.DictReader(io.StringIO(out)))["error_sup"]) > 0.5),
        (["-q"], lambda out: out == f"{SAMPLES / 'early-a'}\n"),
        (["-q", "--format", "csv"], lambda out: out == f"{SAMPLES / 'early-a'}\n"),
    ],
)
def test_output_modes(cli: Cli, options: list[str], check) -> None:
    done = cli("barrier", *PAIR, *options)
    assert done.status == 0
    assert check(done.out)
    assert done.err == ""


def test_csv_holds_what_json_lines_hold(cli: Cli) -> None:
    """Nested values as JSON text, missing ones empty; a column for every entry of any record."""
    (record,) = cli("relu-dist", *PAIR[:2], "--split", "test", "--by-layer").records
    (row,) = csv.DictReader(
        io.StringIO(cli("relu-dist", *PAIR[:2], "--split", "test", "--by-layer", "--format", "csv").out)
    )
    assert list(row) == list(record)
    for name, value in record.items():
        expected = "" if value is None else json.dumps(value) if isinstance(value, dict | list) else str(value)
        assert row[name] == expected
    (single,) = csv.DictReader(io.StringIO(cli("info", SAMPLES / "parent", "--format", "csv").out))
    assert json.loads(single["checkpoint_steps"]) == [0, 176, 330]


def test_every_command_that_prints_records_finishes() -> None:
    """A table and CSV are written at the end: a command that never comes to it would print nothing."""
    for module in COMMANDS.values():
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert ("output.emit" in text) <= (".finish(" in text), module.NAME


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes on a terminal of 200 columns."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "landscape_cli", *arguments], stdout=slave, stderr=slave, stdin=slave,
        env={**known, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(slave)
    said = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        said += part
    os.close(master)
    assert process.wait() == 0
    return said.decode()


@pytest.mark.parametrize("arguments", [("info", str(SAMPLES)), ("info", str(SAMPLES / "parent")), ("--help",)])
def test_no_color(arguments: tuple[str, ...]) -> None:
    colour = re.compile(r"\x1b\[[\d;]*3[0-9][\d;]*m|\x1b\[[\d;]*9[0-7]m")
    plain = on_a_terminal(*arguments, NO_COLOR="1")
    assert not colour.search(plain)
    if arguments[0] == "info":
        assert "\x1b" not in plain
        assert "network" in plain
    else:
        assert colour.search(on_a_terminal(*arguments))  # the test sees colours where there are some


def test_a_piped_table_has_no_escape_codes() -> None:
    for extra in ({}, {"FORCE_COLOR": "1"}):
        done = subprocess.run(
            [sys.executable, "-m", "landscape_cli", "info", str(SAMPLES), "--format", "table"],
            capture_output=True, text=True, check=True, env={**os.environ, "TERM": "xterm-256color", **extra},
        )  # fmt: skip
        assert "simple-cnn" in done.stdout
        assert "\x1b" not in done.stdout


MEANT = [
    (["bariers"], "'barrier'"),
    (["barrier", "--netwrok", "x"], "did you mean '--network'?"),
    (["barrier", *PAIR, "--network", "simplecnn"], "did you mean 'simple-cnn'?"),
    (["barrier", *PAIR, "--data", "digit"], "did you mean 'digits'?"),
    (["barrier", *PAIR, "--bn", "recomput"], "did you mean 'recompute'?"),
    (["train", "--preset", "fort2020-resnet20-cifar"], "did you mean 'fort2020-resnet20-cifar10"),
    (["train", "--network", "mlp", "--data", "digits", "--optimizer", "sgdd", "--out", "x"], "did you mean 'sgd'?"),
    (["train", "--network", "mlp", "-N", "wdths=8,8", "--data", "digits", "--out", "x"], "did you mean 'widths'?"),
    (["distances", "x.h5", "--distance", "bhatacharyya"], "did you mean 'bhattacharyya'?"),
    (["plot", "x.jsonl", "--kind", "barier"], "did you mean 'barrier'?"),
    (["info", str(SAMPLES), "--sort", "test_eror"], "did you mean 'test_error'?"),
    (["info", str(SAMPLES), "--where", "netwok == 'mlp'"], "did you mean 'network'?"),
    (["info", str(SAMPLES), "--columns", "optimiser"], "did you mean 'optimizer'?"),
    (["compare", *PAIR[:2], "--measures", "wieght"], "did you mean 'weight'?"),
    (["status", str(SAMPLES), "--only", "finishd"], "did you mean 'finished'?"),
]


@pytest.mark.parametrize(("arguments", "meant"), MEANT, ids=lambda v: " ".join(v[-2:]) if isinstance(v, list) else None)
def test_what_was_meant_is_told(cli: Cli, arguments: list[str], meant: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(*arguments)
    assert done.status == 2
    assert meant in done.err
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize("option", ["--color", "--line", "--group-by", "--x", "--y"])
def test_columns_of_a_figure_that_were_meant(cli: Cli, tmp_path: Path, option: str) -> None:
    records = tmp_path / "progress.jsonl"
    row = {"kind": "progress", "path": "p.h5", "name": "a", "progress": 0.5, "distance_to_geodesic": 0.1, "truth": 0.2,
           "ignorance": 1.0, "error": 0.1, "loss": 0.3, "run": "a", "step": 1, "epoch": 1.0, "network": "mlp"}  # fmt: skip
    records.write_text("".join(json.dumps(row | {"step": n, "epoch": float(n)}) + "\n" for n in range(3)))
    done = cli("plot", records, option, "netwok", "-o", tmp_path / "figure.png")
    assert done.status == 2
    assert "did you mean 'network'?" in done.err


def test_settings_come_from_flags_then_environment_then_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[barrier]\npoints = 5\nrefine = 0\nsplit = "test"\nprecision = "float64"\n[train]\nlr = 1\n')

    def measured(*options: str) -> tuple[int, str]:
        (record,) = cli("barrier", *PAIR[:2], "--config", file, *options).records
        return record["points"], record["precision"]

    assert measured() == (5, "float64")
    assert measured("--points", "3") == (3, "float64")
    monkeypatch.setenv("LANDSCAPE_PRECISION", "bf16")
    assert measured() == (5, "bf16")
    assert measured("--precision", "float32") == (5, "float32")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[barrier]\npoint = 5\n", "'point' is no option of 'barrier'"),
        ("points = = 5\n", "is no TOML file"),
        ("[barrier]\npoints = 'many'\n", "Invalid value for '--points'"),
    ],
)
def test_a_wrong_settings_file_is_named(cli: Cli, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    done = cli("barrier", *PAIR[:2], "--config", file)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_top_level_entries_and_lists_of_a_settings_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'data = "digits"\nnetwork = "mlp"\nnetwork-option = ["widths=8,8"]\nmilestones = [1, 2]\nschedule = "step"\n'
        'epochs = 3\nbatch_size = 64\ntrain-size = 128\ncheckpoints = "last"\n'
    )
    assert cli("train", "--config", file, "--out", tmp_path / "run", "--device", "cpu").status == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["network"]["options"] == {"widths": [8, 8]}
    assert config["protocol"]["milestones"] == [1.0, 2.0]
    assert config["end"] == 6


ERRORS = [
    (["barrier", "nowhere", "elsewhere"], 1, "error: nowhere does not exist"),
    (["barrier", "."], 1, "error: . is no run directory"),
    (["barrier", str(SAMPLES / "early-a")], 2, "alone is no pair"),
    (["barrier", f"{SAMPLES / 'parent'}@3ep", str(SAMPLES / "early-a")], 1, "has no checkpoint at 3ep"),
    (["barrier", *PAIR, "--device", "cuda:7"], 1, "--device cuda:7"),
    (["barrier", *PAIR, "--data", "digit"], 2, "there is no data set 'digit'"),
    (["barrier", *PAIR, "--network", "resnet2"], 2, "there is no network 'resnet2'"),
    (["barrier", *PAIR, "--samples", "9999"], 1, "a subset of 9999 samples was asked for, but there are 355"),
    (["barrier", *PAIR, "--points", "2"], 2, "Invalid value for '--points'"),
    (["spawn", str(SAMPLES / "parent"), "--at", "99ep"], 2, "lies beyond the end"),
    (["spawn", str(SAMPLES / "parent")], 2, "Missing option"),
    (["spawn", "nowhere", "--at", "1ep"], 1, "nowhere does not exist"),
    (["train", *TRAIN[1:], "--out", "x", "--batch-size", "999"], 2, "larger than the training set"),
    (["train", *TRAIN[1:], "--out", "x", "--checkpoints", "9ep"], 2, "lies beyond the end"),
    (["train", *TRAIN[1:]], 2, "--out is missing"),
    (["train", "--preset", "fort2020-resnet20-cifar100", "--data", "digits", "--out", "x"], 1, "100 classes"),
    (["train", *TRAIN[1:], "--out", "x", "-N", "depth=3"], 2, "has no option 'depth'"),
    (["train", *TRAIN[1:], "--out", "x", "-D", "odd"], 2, "is not KEY=VALUE"),
    (["import", "nowhere", "--out", "x"], 2, "nowhere does not exist"),
    (["import", str(SAMPLES), "--out", "x", "--network", "mlp"], 2, "--network needs --data"),
    (["info", "nowhere"], 1, "nowhere does not exist"),
    (["nonsense"], 2, "No such command 'nonsense'"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), ERRORS, ids=lambda v: v if isinstance(v, str) else None)
def test_errors_are_one_line_with_a_way_on(
    cli: Cli, arguments: list[str], status: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(*arguments)
    assert done.status == status
    assert done.out == ""
    lines = done.err.splitlines()
    assert message in lines[0]
    assert lines[0].startswith("error: ")
    assert all(line.startswith("  hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert "Traceback" not in done.err
    assert not (tmp_path / "x").exists()


def test_debugging_shows_where_a_stated_error_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.errors import CheckpointError

    monkeypatch.setenv("LANDSCAPE_DEBUG", "1")
    with pytest.raises(CheckpointError):
        cli("info", "nowhere")


def test_a_bug_shows_itself(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "describe", lambda text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("info", SAMPLES / "parent")
