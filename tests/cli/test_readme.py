"""The README's tour, typed line by line as a new user would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SAMPLES
from tests.fences import fences, typed, words

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONSOLE = [line for fence in fences(README) if fence.language == "console" for line in typed(fence.text)]
DATA = os.environ.get("LANDSCAPE_TEST_DATA")


def test_the_tour_works_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "sample_checkpoints").symlink_to(SAMPLES)
    # Tables as on a terminal wide enough for all columns; one file of the tour is a pipe's JSON lines.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path), "LANDSCAPE_THREADS": "1"}
    done = 0
    for command, shown in CONSOLE:
        if "cifar" in command:
            continue
        piped = " | " in command
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, text=True, capture_output=True, check=False,
            env=environment if piped else {**environment, "LANDSCAPE_FORMAT": "table"},
        )  # fmt: skip
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        for line in shown:
            for word in words(line):
                assert word in result.stdout + result.stderr, f"{command}\ndoes not say '{word}':\n{result.stdout}"
        done += 1
    assert done >= 10
    assert len((tmp_path / "barriers.jsonl").read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.skipif(DATA is None, reason="needs the original CIFAR-10 files: LANDSCAPE_TEST_DATA=DIR")
def test_the_tour_on_cifar10(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command, shown in CONSOLE:
        if "cifar" in command:
            command = command.replace("cifar10:data", f"cifar10:{DATA}")
            result = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, text=True, capture_output=True, check=False,
                env={**os.environ, "PATH": path, "LANDSCAPE_FORMAT": "table"},
            )  # fmt: skip
            assert result.returncode == 0, f"{command}\n{result.stderr}"
            assert all(word in result.stdout for line in shown for word in words(line))


def test_the_lines_for_a_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every Python block runs as it stands; what a comment says of a line is what the line prints."""
    monkeypatch.chdir(REPOSITORY)
    blocks = [fence.text for fence in fences(README) if fence.language == "python"]
    assert blocks
    for code in blocks:
        exec(code, {"__name__": "__main__"})
        said = capsys.readouterr().out
        for number in re.findall(r"\d\.\d{3}", " ".join(re.findall(r"\)  # (\d.*)", code))):
            assert number in said
