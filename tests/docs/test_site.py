"""The site builds without a broken link, needs nothing from elsewhere, and is searched where it lies."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate.site import targets, turned
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)], cwd=REPOSITORY, text=True,
        capture_output=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def shown(address: str) -> str:
    """A page as a browser has it when its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom", address],
        text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", text):
            assert not re.search(r'(?:src|href)="?(?:https?:)?//', tag), f"{page.name}: {tag}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_links_out_of_the_pages_are_taken_along(site: Path) -> None:
    sweeps = (site / "sweeps.html").read_text(encoding="utf-8")
    assert 'href="repository/examples/sweeps/digits.toml"' in sweeps
    assert (site / "repository" / "examples" / "sweeps" / "digits.toml").is_file()


def test_the_search_works_on_pages_opened_from_the_disk(site: Path) -> None:
    assert re.search(r"\d+ matching documents", shown(f"{(site / 'index.html').as_uri()}?q=barrier"))


def test_what_is_copied_from_a_terminal_is_what_one_types(site: Path) -> None:
    """The copy button marks a block and takes the text that is then shown."""
    script = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify("
        "[...document.querySelectorAll('.highlight code')].map((code) => {"
        " code.setAttribute('data-md-copying', ''); return code.innerText.trim(); })); });</script></body>"
    )
    page = site / "howto" / "network.html"
    probe = page.with_name("probe.html")
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    title = re.search("<title>(.*?)</title>", shown(probe.as_uri()), re.DOTALL)
    assert title is not None
    file, command, *_ = json.loads(html.unescape(title[1]))
    assert file.startswith("from torch import nn\n")
    assert re.fullmatch(r"landscape train --network nets.py:build .* --out runs/mine", command)


def test_links_are_turned_towards_the_site() -> None:
    text = "[c](../CONTRIBUTING.md#adding-a-network) [w](weights.md) [x](https://x.org) [no](../nothing.md)\n"
    assert targets(text, "docs/design.md") == ["CONTRIBUTING.md", "docs/weights.md", "nothing.md"]
    assert turned(text, "docs/design.md") == (
        "[c](repository/CONTRIBUTING.md#adding-a-network) [w](weights.md) [x](https://x.org) [no](../nothing.md)\n"
    )
    assert turned("[d](../docs/weights.md)", "benchmarks/README.md") == "[d](../../weights.md)"
    assert turned("```sh\n[d](../docs/weights.md)\n```\n", "benchmarks/README.md") == (
        "```sh\n[d](../docs/weights.md)\n```\n"
    )
