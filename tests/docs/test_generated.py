"""The generated pages are those that the code gives now, whatever the terminal's width."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY


def test_the_reference_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=REPOSITORY, text=True, capture_output=True, check=False,
        env={**os.environ, "COLUMNS": "40"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
