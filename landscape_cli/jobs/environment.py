"""What a run was made with: versions, hardware, the state of the user's repository."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import landscape_cli
from landscape_cli.compute.device import Placement

PACKAGES = ("torch", "numpy", "safetensors")


def environment(where: Placement) -> dict[str, Any]:
    """The entries of ``run.json`` that tell with what a result was made."""
    import torch

    return {
        "landscape": landscape_cli.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": where.name,
        "hardware": where.describe(),
        "threads": torch.get_num_threads(),
        "git": git_state(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Commit of the repository around the working directory, and whether tracked files differ from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603, S607
    return done.stdout.strip()
