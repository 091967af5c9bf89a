"""What a report has made is found again exactly if all that it depends on is as it was, and nothing whole is lost."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import landscape_cli
from landscape_cli.cli import app
from landscape_cli.cli.report_steps import Ledger, Made, make
from landscape_cli.errors import InterruptedRunError
from landscape_cli.jobs.report_step import Step

Command = Callable[[list[str]], int]


def captured(folder: Path, *, count: int = 1, **more: Any) -> Step:
    """Prints its result, and writes a file beside it."""
    beside = folder / "paths.jsonl"
    words = ("barrier", "runs/a", "--samples", str(count), "--curve-out", str(beside))
    return Step(
        "barriers", "Barriers", "weights", words, folder / "barriers.jsonl", beside=(beside,), inputs=["a"], **more
    )


def growing(folder: Path, *, count: int = 1) -> Step:
    """Writes its result, and goes on from it."""
    words = ("predict", "runs/a", "--samples", str(count), "-o", str(folder / "p.h5"))
    return Step("predict", "P", "predictions", words, folder / "p.h5", captured=False, inputs=["a"], goes_on=True)


def reading(folder: Path) -> Step:
    """Reads the result of another."""
    words = ("distances", str(folder / "p.h5"), "-o", str(folder / "d.h5"))
    return Step("distances", "D", "predictions", words, folder / "d.h5", captured=False, after=("predict",))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run: each says its samples where it is to."""
    found: list[list[str]] = []

    def run(words: list[str]) -> int:
        found.append(words)
        said = words[words.index("--samples") + 1] if "--samples" in words else "x"
        for option in ("-o", "--curve-out"):
            if option in words:
                with Path(words[words.index(option) + 1]).open("a", encoding="utf-8") as file:
                    file.write(f"{option} {said}\n")
        sys.stdout.write(f"{said}\n")
        return 0

    monkeypatch.setattr(app, "run", run)
    return found


def stopped(monkeypatch: pytest.MonkeyPatch) -> contextlib.AbstractContextManager[Any]:
    """A command that is interrupted when its files are written."""
    whole = app.run

    def run(words: list[str]) -> int:
        whole(words)
        return 130

    patch = pytest.MonkeyPatch.context()
    found = contextlib.ExitStack()
    found.enter_context(patch).setattr(app, "run", run)
    return found


def test_it_is_made_once_and_again_if_something_changed(tmp_path: Path, calls: list[list[str]]) -> None:
    assert not make(captured(tmp_path), Ledger(tmp_path)).kept
    assert make(captured(tmp_path), Ledger(tmp_path)).kept
    assert len(calls) == 1
    assert not any(word.endswith("paths.jsonl") and ".partial" not in word for word in calls[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["barriers.jsonl", "made.json", "paths.jsonl"]
    for other in (captured(tmp_path, count=2), replace(captured(tmp_path), inputs=["b"])):
        assert not Ledger(tmp_path).has(other)
        assert Ledger(tmp_path).knows(other)
    assert not Ledger(tmp_path, forget=True).has(captured(tmp_path))


@pytest.mark.parametrize("name", ["barriers.jsonl", "paths.jsonl"])
@pytest.mark.parametrize("lost", [True, False])
def test_files_that_are_gone_or_written_over_are_no_result(
    tmp_path: Path, calls: list[list[str]], name: str, lost: bool
) -> None:
    make(captured(tmp_path), Ledger(tmp_path))
    file = tmp_path / name
    if lost:
        file.unlink()
    else:
        file.write_text("other\n"[: file.stat().st_size], encoding="utf-8")
    assert not Ledger(tmp_path).has(captured(tmp_path))
    assert not make(captured(tmp_path), Ledger(tmp_path)).kept
    assert Ledger(tmp_path).has(captured(tmp_path))


def test_a_folder_can_be_moved(tmp_path: Path, calls: list[list[str]]) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    ledger = Ledger(before)
    for step in (growing(before), reading(before)):
        make(step, ledger)
    before.rename(after)
    assert all(Ledger(after).has(step) for step in (growing(after), reading(after)))
    assert Ledger(after).waiting([growing(after, count=2), reading(after)]) == [growing(after, count=2), reading(after)]


def test_another_version_measures_anew(tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    make(captured(tmp_path), Ledger(tmp_path))
    monkeypatch.setattr(landscape_cli, "__version__", "another")
    assert not Ledger(tmp_path).has(captured(tmp_path))


@pytest.mark.parametrize("step", [captured, growing])
def test_stopped_with_other_words_the_first_result_stays(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, step: Callable[..., Step]
) -> None:
    make(step(tmp_path), Ledger(tmp_path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with stopped(monkeypatch), pytest.raises(InterruptedRunError):
        make(step(tmp_path, count=2), Ledger(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert make(step(tmp_path), Ledger(tmp_path)).kept
    assert not make(step(tmp_path, count=2), Ledger(tmp_path)).kept
    assert "2" in step(tmp_path).result.read_text(encoding="utf-8")


def test_only_what_goes_on_finds_its_unfinished_file(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, lines in ((growing(tmp_path), 2), (captured(tmp_path), 1)):
        with stopped(monkeypatch), pytest.raises(InterruptedRunError):
            make(step, Ledger(tmp_path))
        assert not any(file.exists() for file in step.files)
        make(step, Ledger(tmp_path))
        assert len(step.files[-1].read_text(encoding="utf-8").splitlines()) == lines
    assert "--force" not in [word for words in calls for word in words]
    with stopped(monkeypatch), pytest.raises(InterruptedRunError):
        make(growing(tmp_path, count=3), Ledger(tmp_path))
    make(growing(tmp_path, count=3), Ledger(tmp_path, forget=True))
    assert "--force" in calls[-1]
    assert (tmp_path / "p.h5").read_text(encoding="utf-8") == "-o 3\n"


def test_words_of_the_environment_are_said_or_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    def run(words: list[str]) -> int:
        seen.append({key: value for key, value in os.environ.items() if key.startswith("LANDSCAPE_")})
        return 1

    monkeypatch.setattr(app, "run", run)
    for name, value in (("SEED", "3"), ("PRECISION", "bf16"), ("FORMAT", "table"), ("DEVICE", "mps"), ("CACHE", "c")):
        monkeypatch.setenv(f"LANDSCAPE_{name}", value)
    before = dict(os.environ)
    make(captured(tmp_path), Ledger(tmp_path))
    make(captured(tmp_path), Ledger(tmp_path), progress=False)
    assert dict(os.environ) == before
    assert [env.get("LANDSCAPE_CACHE") for env in seen] == ["c", "c"]
    assert [env.get("LANDSCAPE_NO_PROGRESS") for env in seen] == [None, "1"]
    assert all(set(env) <= {"LANDSCAPE_CACHE", "LANDSCAPE_NO_PROGRESS", "LANDSCAPE_DEBUG"} for env in seen)


def test_a_failed_command_is_no_result_and_says_why(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(captured(tmp_path), Ledger(tmp_path))
    before = (tmp_path / "barriers.jsonl").read_bytes()
    told = io.StringIO()

    def run(words: list[str]) -> int:
        sys.stderr.write(f"error: {words[-1]} cannot be written\n")
        return 1

    monkeypatch.setattr(app, "run", run)
    with contextlib.redirect_stderr(told):
        made = make(captured(tmp_path, count=2), Ledger(tmp_path))
    assert made == Made(captured(tmp_path, count=2), None, f"{tmp_path / 'paths.jsonl'} cannot be written")
    assert ".partial" not in told.getvalue()
    assert (tmp_path / "barriers.jsonl").read_bytes() == before


def test_pictures_of_an_earlier_report_go(tmp_path: Path) -> None:
    for name in ("fort.png", "velocity.svg", "mine.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    Ledger(tmp_path).draw(["fort.png", "velocity.svg"])
    Ledger(tmp_path, forget=True).draw(["fort.png"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fort.png", "made.json", "mine.txt"]
    kept = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    (tmp_path / "made.json").write_text(json.dumps(kept | {"drawn": ["../outside", "fort.png"]}), encoding="utf-8")
    (tmp_path.parent / "outside").write_text("x", encoding="utf-8")
    Ledger(tmp_path).draw([])
    assert (tmp_path.parent / "outside").exists()
    assert not (tmp_path / "fort.png").exists()
