"""Shell blocks are run too: in a folder with the runs that pages suppose, and each command at a small size."""

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile, copytree, rmtree

import numpy as np
import pytest

from tests.conftest import REPOSITORY, SAMPLES
from tests.docs.shell import type_in_here
from tests.docs.test_pages import trainer_checkpoints
from tests.fences import fences, typed

# Blocks that only tests/docs/test_pages.py reads: what they say, and why.
READ_ONLY = {"timm:": "a package that the tests do not install"}
PAGES = sorted(
    str(page.relative_to(REPOSITORY))
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    if "reference" not in page.parts and any(f.language == "sh" for f in fences(page.read_text(encoding="utf-8")))
)
NETWORK = "--data digits --network mlp -N widths=16,16 --lr 0.1"
RUNS = f"""
landscape train {NETWORK} --epochs 16 --schedule cosine --out runs/parent \
    --checkpoints 0ep,0.4ep,0.5ep,0.8ep,1ep,2ep,4ep,8ep,last
landscape train {NETWORK} --epochs 4 --seeds 1,2,3 --checkpoints every:1ep --out "runs/{{seed}}"
landscape spawn runs/parent --at 0ep,1ep --children 2
landscape spawn runs/parent --at 0.5ep --children 2 --name "child-{{letter}}"
landscape train {NETWORK} --epochs 18 --seeds 0,1 --checkpoints 0ep,last --out "runs/parent-seed{{seed}}"
landscape predict runs/parent runs/3 --at all -o all.h5
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages suppose in the folder in which one types."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        type_in_here(RUNS)
    for number, name in enumerate(("a", "b", "new"), start=1):
        (folder / "runs" / str(number)).rename(folder / "runs" / name)
    copytree(SAMPLES, folder / "sample_checkpoints")
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    (folder / "theirs").mkdir()
    for name in ("early-a", "early-b"):
        copyfile(
            SAMPLES / name / "checkpoints" / "step-00000330.safetensors", folder / "theirs" / f"{name}.safetensors"
        )
    cifar(folder / "data")
    return folder


def cifar(folder: Path) -> None:
    """CIFAR-10 in the form of its binary files, with 1,000 images of noise to train on and 50 to test."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(6):
        count = 200 if number < 5 else 50
        labels = (np.arange(count, dtype=np.uint8) % 10)[:, None]
        images = draw.integers(0, 256, (count, 3072), dtype=np.uint8)
        name = f"data_batch_{number + 1}.bin" if number < 5 else "test_batch.bin"
        (folder / name).write_bytes(np.concatenate([labels, images], axis=1).tobytes())


def photographs(folder: Path) -> None:
    """Small colour images by class, to train on and to test."""
    image = pytest.importorskip("PIL.Image", reason="images are an extra")
    draw = np.random.default_rng(0)
    for number in range(80):
        place = folder / ("train" if number < 40 else "test") / f"class{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}.png")


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "here"
    copytree(world, folder, symlinks=True)
    monkeypatch.chdir(folder)
    yield folder
    rmtree(folder)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/report.md"])  # see ELSEWHERE
def test_the_shell_blocks_of_a_page_run(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, in one folder, with the files that the page has one write."""
    pytest.importorskip("matplotlib", reason="figures are an extra")
    if page.endswith("hugging-face.md"):
        trainer_checkpoints(here / "out", monkeypatch, channels=3)
        photographs(here / "photos")
    done = 0
    for fence in fences((REPOSITORY / page).read_text(encoding="utf-8")):
        for command, _ in typed(fence.text) if fence.language == "console" else ():
            if written := re.match(r"cat > (\S+) <<'END'\n(.*\n)END", command, re.DOTALL):
                (here / written[1]).write_text(written[2], encoding="utf-8")
        if fence.language == "toml" and (name := re.match(r"# (\S+\.toml)\n", fence.text)):
            (here / name[1]).write_text(fence.text, encoding="utf-8")
        if fence.language == "sh" and not any(words in fence.text for words in READ_ONLY):
            if re.search(r"landscape train .*?--out runs/parent\b", fence.text, re.DOTALL):
                rmtree(here / "runs")  # the block makes its own
            try:
                for task in range(1 + ("ARRAY_TASK" in fence.text)):
                    done += type_in_here(fence.text, task)
            except AssertionError as error:
                raise AssertionError(f"{page}:{fence.line}: {error}") from None
    assert done
