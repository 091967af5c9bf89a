"""The house rules that a machine can check: who imports whom, who prints, what the face may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "landscape_cli"
LEAVES = {"errors", "times", "plugins"}
ALLOWED = {
    "compute": {"errors", "times", "plugins"},
    "store": {"errors", "times"},
    "networks": {"errors", "plugins"},
    "datasets": {"errors", "plugins"},
    "plots": {"errors", "store"},
    "jobs": {"compute", "store", "networks", "datasets", *LEAVES},
    "scale": {"jobs", "compute", "store", *LEAVES},
    "api": {"jobs", "compute", "store", "networks", "datasets", *LEAVES},
    "cli": {"jobs", "scale", "plots", "compute", "store", "networks", "datasets", *LEAVES},
    "errors": set(),
    "times": {"errors"},
    "plugins": {"errors"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "landscape_cli" else [f"landscape_cli.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("landscape_cli.")}
    return rooms


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    room = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert imported_rooms(file) - {room, "__init__"} <= ALLOWED[room], f"{file} imports a room it may not"


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_modules_are_rooms_not_hallways(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 500
    assert file.stem not in ("utils", "helpers", "common")


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_nobody_imports_click(file: Path) -> None:
    assert "import click" not in file.read_text(encoding="utf-8")


def loaded_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["barrier", "--help"], 0),
        (["spawn", "--help"], 0),
        (["train", "--list-presets"], 0),
        (["info", str(ROOT.parent / "sample_checkpoints" / "parent")], 0),
        (["info", str(ROOT.parent / "sample_checkpoints")], 0),
        (["info", "nowhere"], 1),
        (["barrier", "--bogus"], 2),
        (["barrier", "one"], 1),
        (["train", "--network", "simplecnn", "--data", "digits", "--out", "x"], 2),
        (["train", "--lr", "-1", "--network", "mlp", "--data", "digits", "--out", "x"], 2),
        (["train", "--preset", "nothing"], 2),
        (["spawn", "x", "--at", "soon"], 2),
        *(([name, "--help"], 0) for name in ("predict", "distances", "inpca", "cluster", "plot")),
        (["align", "--help"], 0),
        (["align", "nowhere", "nowhere", "-o", "x"], 1),
        *(([name, "--help"], 0) for name in ("kernel-dist", "kernel-velocity", "gradient-dist", "linearize")),
        *(([name, "--help"], 0) for name in ("hessian", "escape")),
        *(([name, "--help"], 0) for name in ("sweep", "status")),
        (["sweep", "nowhere.toml"], 2),
        (["status", str(ROOT.parent / "examples" / "sweeps" / "mao2023.toml"), "--summary"], 0),
        (["hessian", "x", "--precision", "bf16"], 2),
        (["distances", "x.h5", "--distance", "none"], 2),
        (["linearize", "x", "--at", "soon"], 2),
    ],
)
def test_the_face_does_not_pay_for_torch(arguments: list[str], status: int) -> None:
    told = loaded_by(
        "import sys\n"
        "from landscape_cli.cli.app import run\n"
        f"status = run({arguments!r})\n"
        f"assert status == {status}, status\n"
        "heavy = [m for m in ('torch', 'scipy', 'sklearn', 'h5py', 'matplotlib') if m in sys.modules]\n"
        "print('loaded', heavy, file=sys.stderr)\n"
    )
    assert told.splitlines()[-1] == "loaded []"


def test_importing_the_package_loads_neither_torch_nor_numpy() -> None:
    told = loaded_by(
        "import sys, landscape_cli\n"
        "assert 'barrier' in dir(landscape_cli) and 'barrier' in landscape_cli.__all__\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    assert told.strip() == "[]"


def test_importing_the_package_and_its_store_loads_no_torch() -> None:
    modules = ["landscape_cli"] + [f"landscape_cli.store.{f.stem}" for f in (ROOT / "store").glob("[a-z]*.py")]
    told = loaded_by(f"import sys\nfor m in {modules!r}: __import__(m)\nprint('torch' in sys.modules, file=sys.stderr)")
    assert told.strip() == "False"
