"""What Tab offers, asked for as the shells ask; without torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_cli.cli.app import run
from landscape_cli.cli.completion import complete_data, complete_networks, complete_presets, times
from tests.conftest import SAMPLES


def offered(line: str, folder: Path) -> list[str]:
    """What zsh is offered at the end of a line."""
    code = (
        "import sys\nfrom landscape_cli.cli.app import app\n"
        "try: app(prog_name='landscape')\n"
        "finally: print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "_LANDSCAPE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    environment |= {
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": line.rpartition(" ")[2],
    }
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "runs").symlink_to(SAMPLES)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    record = {"kind": "progress", "name": "a", "network": "mlp", "network_options": {}, "progress": 0.5}
    (tmp_path / "progress.jsonl").write_text(json.dumps(record) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("landscape barrier ", ["model.safetensors", "runs/"]),
        ("landscape barrier runs/e", ["runs/early-a", "runs/early-b"]),
        (
            "landscape barrier runs/parent",
            ["runs/parent", *(f"runs/parent@{t}" for t in ("0ep", "8ep", "15ep", "last"))],
        ),
        ("landscape barrier runs/parent@1", ["runs/parent@15ep"]),
        ("landscape predict runs/late-a runs/late-b@", ["runs/late-b@15ep", "runs/late-b@last"]),
        ("landscape spawn runs/p", ["runs/parent"]),
        ("landscape info runs/p", ["runs/parent", *(f"runs/parent@{t}" for t in ("0ep", "8ep", "15ep", "last"))][:1]),
        ("landscape train --network simp", ["simple-cnn"]),
        ("landscape train --data dig", ["digits"]),
        ("landscape barrier --bn re", ["recompute"]),
        ("landscape plot progress.jsonl --color netw", ["network", "network_options"]),
        ("landscape plot progress.jsonl --group-by name,netw", ["name,network", "name,network_options"]),
        ("landscape info runs --sort test_e", ["test_error"]),
        ("landscape info runs --columns lr,batch", ["lr,batch_size"]),
    ],
)
def test_what_is_offered(line: str, expected: list[str], place: Path) -> None:
    assert offered(line, place) == expected


def in_bash(words: list[str], folder: Path) -> list[str]:
    """What bash is offered for the last of the words that it makes of a line: ``@`` is one of its own."""
    environment = {**os.environ, "_LANDSCAPE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words)}
    environment |= {"COMP_CWORD": str(len(words) - 1), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    code = "from landscape_cli.cli.app import app; app(prog_name='landscape')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def test_bash_offers_the_times_behind_its_own_word(place: Path) -> None:
    line = ["landscape", "barrier", "runs/early-a", "runs/parent", "@"]
    assert in_bash(line, place) == ["0ep", "8ep", "15ep", "last"]
    assert in_bash([*line, "1"], place) == ["15ep"]
    assert in_bash(["landscape", "barrier", "runs", "@"], place) == []  # a folder of runs has no times


def test_sweeps_and_places(place: Path) -> None:
    (place / "grid.toml").touch()
    assert offered("landscape sweep ", place) == ["grid.toml", "runs/"]
    assert offered("landscape status ", place) == ["grid.toml", "runs/"]
    assert offered("landscape status runs/p", place) == ["runs/parent"]
    assert offered("landscape sweep runs/p", place) == []
    assert offered("landscape report runs/p", place) == ["runs/parent"]


def test_columns_of_a_predictions_file(place: Path) -> None:
    predictions = place / "test.h5"
    assert run(["predict", str(SAMPLES / "early-a"), "-o", str(predictions), "--device", "cpu", "-q"]) == 0
    assert offered("landscape progress test.h5 --sort optim", place) == ["optimizer"]
    assert offered("landscape progress nowhere.h5 --sort optim", place) == []


def test_names_of_registries_and_times() -> None:
    assert "resnet20-nobn" in complete_networks("res")
    assert "synthetic:sloppy" in complete_data("syn")
    assert "fort2020-wrn-16-4-cifar10" in complete_presets("fort2020-wrn")
    assert times(SAMPLES / "parent") == ["0ep", "8ep", "15ep", "last"]
    assert run(["--show-completion", "bash"]) in (0, 1)
