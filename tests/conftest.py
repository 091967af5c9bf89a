"""Shared fixtures: small real runs, the command line in this process, and shapes checked at run time."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

import tests.checking  # noqa: F401 - the hook below finds it by name

# Every signature's shapes are checked while the tests run; users do not pay for it.
install_import_hook("landscape_cli.compute", "tests.checking.checked")

import torch  # noqa: E402 - after the hook

from landscape_cli.cli.app import run  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "sample_checkpoints"

TRAIN = [
    "train",
    "--data",
    "digits",
    "--network",
    "mlp",
    "-N",
    "widths=16",
    "--batch-size",
    "64",
    "--train-size",
    "256",
]
TRAIN += ["--epochs", "3", "--lr", "0.1", "--device", "cpu", "--threads", "1"]


@dataclass
class Done:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Done]


@pytest.fixture(autouse=True)
def _own_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's cache or settings, or another test's."""
    for name in list(os.environ):
        if name.startswith("LANDSCAPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch.set_num_threads(1)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*arguments: object) -> Done:
        status = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def _parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "parent"
    assert run([*TRAIN, "--checkpoints", "every:1ep", "--out", str(path), "-q"]) == 0
    return path


@pytest.fixture
def parent(_parent: Path, tmp_path: Path) -> Path:
    """A run of 12 steps, 4 an epoch, with checkpoints at epochs 0–3: an own copy for each test."""
    return Path(shutil.copytree(_parent, tmp_path / "parent"))


@pytest.fixture
def siblings(tmp_path: Path) -> list[Path]:
    """The committed sample's two early children: an own copy for each test."""
    return [Path(shutil.copytree(SAMPLES / name, tmp_path / "samples" / name)) for name in ("early-a", "early-b")]
