"""Every code block of every page is run or held against the commands; every link and image is there."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import copytree

import pytest

from tests.conftest import REPOSITORY, SAMPLES
from tests.fences import anchors, check_call, fences, landscape_calls, links, typed, words

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [
    page
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "examples/README.md")
    if (page := REPOSITORY / name).is_file()
]
STAND_INS = Path(__file__).parent / "stand_ins"  # packages that a page speaks of and the tests do not install
RUN = {"console", "python"}
HELD = {"sh", "toml", "json", "text", "pycon", ""}  # pycon: examples of docstrings, which run as doctests
SECTIONS = ["Formula", "Command", "Cost", "Watch out", "Paper"]


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def typed_lines(page: Path) -> int:
    """How much of a page is run: the longest begin first, so that no worker is left with one at the end."""
    return sum(f.text.count("\n") for f in fences(page.read_text(encoding="utf-8")) if f.language in RUN)


def world(folder: Path) -> dict[str, str]:
    """A folder as the pages suppose it, and the environment of a user in it."""
    copytree(SAMPLES, folder / "sample_checkpoints")
    own = [str(Path(sys.executable).parent), os.environ["PATH"]]
    paths = os.pathsep.join([str(folder), str(STAND_INS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PATH": os.pathsep.join(own), "PYTHONPATH": paths, "LANDSCAPE_THREADS": "1"}


@pytest.mark.parametrize("page", sorted(filter(typed_lines, PAGES), key=typed_lines, reverse=True), ids=named)
def test_what_a_page_types_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Console and Python blocks, in the page's order, in one folder; Python blocks share their names."""
    environment = world(tmp_path)
    monkeypatch.chdir(tmp_path)
    if page.stem == "hugging-face":
        trainer_checkpoints(tmp_path / "out", monkeypatch)
    names: dict[str, object] = {}
    for fence in fences(page.read_text(encoding="utf-8")):
        place = f"{named(page)}:{fence.line}"
        if fence.language == "python":
            exec(compile(fence.text, place, "exec"), names)
        elif fence.language == "console":
            for command, shown in typed(fence.text):
                type_in(command, shown, tmp_path, environment, place)


def trainer_checkpoints(folder: Path, monkeypatch: pytest.MonkeyPatch, *, channels: int = 1) -> None:
    """Two checkpoints as a trainer of Hugging Face leaves them."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    for step in (500, 1000):
        torch.manual_seed(step)
        ResNetForImageClassification(ResNetConfig(channels)).save_pretrained(str(folder / f"checkpoint-{step}"))


def type_in(command: str, shown: list[str], folder: Path, environment: dict[str, str], place: str) -> None:
    piped = " | " in command or "--format" in command
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, text=True, capture_output=True, check=False,
        env=environment if piped else {**environment, "LANDSCAPE_FORMAT": "table"},
    )  # fmt: skip
    said = result.stdout + result.stderr
    assert result.returncode == 0, f"{place}\n$ {command}\n{said}"
    for line in shown:
        for word in words(line):
            assert word in said, f"{place}\n$ {command}\ndoes not say '{word}':\n{said}"


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=named)
def test_what_a_page_does_not_run_is_true(page: Path) -> None:
    """Shell blocks name commands, options and values that exist; settings parse; Python is Python."""
    for fence in fences(page.read_text(encoding="utf-8")):
        place = f"{named(page)}:{fence.line}"
        assert fence.language in RUN | HELD, f"{place}: nobody checks '{fence.language}'"
        if fence.language == "sh":
            syntax = subprocess.run(["bash", "-n"], input=fence.text, text=True, capture_output=True, check=False)
            assert syntax.returncode == 0, f"{place}: {syntax.stderr}"
        if fence.language in ("sh", "console"):
            script = fence.text if fence.language == "sh" else "\n".join(c for c, _ in typed(fence.text))
            for call in landscape_calls(script):
                try:
                    check_call(call)
                except AssertionError as error:
                    raise AssertionError(f"{place}: {error}") from None
        elif fence.language == "toml":
            tomllib.loads(fence.text)
        elif fence.language == "json":
            for line in fence.text.splitlines():  # records: one a line
                json.loads(line)
        elif fence.language == "python":
            ast.parse(fence.text)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page.read_text(encoding="utf-8")):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{named(page)} links to {target}, which is not there"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{named(page)} links to {target}#{anchor}, which is not there"


def test_every_page_is_in_the_contents() -> None:
    """The site's navigation has each page once. (Its file has tags that a plain YAML reader refuses: read as lines.)"""
    contents = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = [line.split(": ")[-1].lstrip("- ").strip() for line in contents.splitlines() if line.endswith(".md")]
    assert len(listed) == len(set(listed))
    missing = {str(page.relative_to(DOCS)) for page in PAGES} - set(listed)
    assert not missing


@pytest.mark.parametrize(
    "page", [p for p in sorted((DOCS / "quantities").glob("*.md")) if p.stem != "index"], ids=lambda p: p.stem
)
def test_a_quantity_says_what_the_others_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert "landscape " in text
    assert f"({page.name})" in (DOCS / "quantities" / "index.md").read_text(encoding="utf-8")


def test_every_command_has_a_page() -> None:
    from landscape_cli.cli.app import COMMANDS

    texts = [page.read_text(encoding="utf-8") for page in PAGES if not page.is_relative_to(DOCS / "reference")]
    for module in COMMANDS:
        if module.NAME != "demo":
            assert any(f"landscape {module.NAME}" in text for text in texts), module.NAME
