"""Real results of every command, made small: what the pages on records and files are read off."""

import contextlib
import io
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "sample_checkpoints"

TRAIN = "--data digits --network mlp -N widths=8 --batch-size 64 --train-size 256 --lr 0.1 --device cpu --threads 1"
PAIR = "samples/early-a samples/early-b --samples 40"

# The command that makes a kind of record, as it is typed; {…} stands for what an earlier one made.
COMMANDS = (
    f"train {TRAIN} --epochs 3 --checkpoints every:0.5ep --resume-states all --out runs/parent",
    f"train {TRAIN} --epochs 3 --seed 1 --checkpoints 0ep,1ep,last --out runs/other",
    "spawn runs/parent --at 1ep --children 2 --name child-{letter} --threads 1",
    "sweep sweep.toml --device cpu",
    "status runs",
    "info runs/parent",
    "info runs/child-a",
    "info runs/parent@1ep",
    "info runs/parent/checkpoints/step-00000000.safetensors",
    "import loose.safetensors --network mlp -N widths=8 --data digits --out runs/imported",
    "info runs/imported",
    f"barrier {PAIR} --points 3 --refine 0 --bn-samples 40",
    "barrier runs/child-a runs/child-b --points 3 --refine 0 --layerwise --samples 40",
    "barrier runs/parent runs/other --points 3 --refine 0 --align --samples 40 --split test --curve-out line.jsonl",
    "align runs/parent runs/other -o runs/aligned",
    f"compare {PAIR} --points 3 --kernel-samples 20",
    "weight-dist samples/early-a samples/early-b --by-layer",
    f"relu-dist {PAIR} --by-layer",
    f"function-dist {PAIR}",
    "kernel-dist runs/parent --at 0ep,1ep,last --samples 20 --eigenvalues --cka --save-kernels kernels.h5",
    "kernel-velocity runs/parent --dt 1ep --samples 20",
    "gradient-dist runs/parent@1ep runs/parent --samples 40",
    "linearize runs/parent --at 1ep --epochs 1 --low-lr --threads 1",
    "linearize runs/parent --at 1ep --solve --samples 20",
    "plane runs/parent@1ep runs/child-a runs/child-b --grid 3 --samples 40 --trajectory runs/child-a -o plane.h5",
    "info plane.h5",
    "curve runs/child-a runs/child-b --epochs 1 --networks 3 --threads 1 --out runs/curve",
    "hessian runs/parent --samples 200 --trace 6 --density 1 --steps 8 --overlap",
    "escape runs/parent --at 1ep --samples 200 --minibatches 4",
    "predict runs/parent runs/other runs/child-a --at all -o test.h5",
    "info test.h5",
    "distances test.h5 --truth --ignorance -o distances.h5",
    "info distances.h5",
    "inpca distances.h5 -o embedding.h5",
    "info embedding.h5",
    "tsne test.h5 -o tsne.h5 --perplexity 3 --iterations 250",
    "info tsne.h5",
    "progress test.h5",
    "trajectories test.h5 -o trajectories.h5",
    "info trajectories.h5",
    "cluster trajectories.h5 -o clusters.h5",
    "info clusters.h5",
    "centroid test.h5 -o centroids.h5",
    "plot runs/parent -o curves.png",
    "plot embedding.h5 -o embedding.html",
    "align runs/parent runs/other -o aligned.safetensors",
    "cluster trajectories.h5 --clusters 2 --members members.jsonl -o cut.h5",
    "distances test.h5 --shard 1/1 -o shards.h5",
    "status longer.toml --summary",
    "status longer.toml",
    "report runs/parent runs/child-a runs/child-b --only-existing --out report",
    # What --dry-run says.
    f"train {TRAIN} --epochs 3 --out runs/planned --dry-run",
    "spawn runs/parent --at 0ep,2ep --dry-run",
    "sweep longer.toml --device cpu --dry-run",
    "barrier runs/child-a runs/other --dry-run",
    "align runs/parent runs/other -o planned.safetensors --dry-run",
    "plane runs/parent@1ep runs/child-a runs/child-b -o planned.h5 --dry-run",
    "kernel-dist runs/parent --at all --samples 20 --dry-run",
    "linearize runs/parent --at 1ep --epochs 1 --dry-run",
    "linearize runs/parent --at 1ep --solve --samples 20 --dry-run",
    "hessian runs/parent --at 1ep --samples 200 --dry-run",
    "escape runs/parent --at last --samples 200 --dry-run",
    "predict runs/parent runs/other --at all -o planned-test.h5 --dry-run",
    "distances test.h5 -o planned-distances.h5 --dry-run",
    "inpca distances.h5 -o planned-embedding.h5 --dry-run",
    "report runs/parent runs/child-a runs/child-b --dry-run",
)
WRITTEN = ("--curve-out", "--members")  # options whose files hold records of kinds of their own
SWEEP = """\
out = "runs/sweep"

[fixed]
data = "digits"
network = "mlp"
network-option = { widths = "8" }
train-size = 256
batch-size = 64
epochs = 1
checkpoints = "last"

[grid]
seed = [0, 1]
"""


def make(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Run the commands in a folder; each with its records."""
    import torch

    from landscape_cli.cli.app import run

    os.environ["LANDSCAPE_CACHE"] = str(folder / "cache")
    torch.set_num_threads(1)
    (folder / "samples").mkdir()
    for name in ("early-a", "early-b", "parent"):
        shutil.copytree(SAMPLES / name, folder / "samples" / name)
    (folder / "sweep.toml").write_text(SWEEP, encoding="utf-8")
    (folder / "longer.toml").write_text(SWEEP.replace("[0, 1]", "[0, 1, 2]"), encoding="utf-8")
    found = []
    with contextlib.chdir(folder):
        for command in COMMANDS:
            out, err = io.StringIO(), io.StringIO()
            if "loose.safetensors" in command:
                shutil.copy("runs/other/checkpoints/step-00000000.safetensors", "loose.safetensors")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = run([*command.split(), "--format", "jsonl"])
            if status:
                raise RuntimeError(f"landscape {command}\nleft with status {status}:\n{err.getvalue()}")
            lines = [*out.getvalue().splitlines(), *_written(command.split())]
            found.append((command, [json.loads(line) for line in lines]))
    return found


def _written(words: list[str]) -> list[str]:
    """The records that a command wrote into a file of its own."""
    files = [after for option, after in itertools.pairwise(words) if option in WRITTEN]
    return [line for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]
