"""How long the face takes, against ``python -c "import torch"``.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 7
SAMPLE = Path(__file__).resolve().parent.parent / "sample_checkpoints" / "parent"
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "landscape --help": [sys.executable, "-m", "landscape_cli", "--help"],
    "landscape train --help": [sys.executable, "-m", "landscape_cli", "train", "--help"],
    "landscape info RUN": [sys.executable, "-m", "landscape_cli", "info", str(SAMPLE)],
    "a usage error": [sys.executable, "-m", "landscape_cli", "barrier", "--bogus"],
}


def main():
    times = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):
        for name, command in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            times[name].append(time.perf_counter() - begun)
    torch = statistics.median(times["import torch"])
    limit = torch / 5 + 0.3
    print(f"limit: a fifth of importing torch ({torch:.2f} s), plus 0.3 s: {limit:.2f} s")
    for name, values in times.items():
        print(f"{name:24} median {statistics.median(values):.2f} s   best {min(values):.2f} s")


if __name__ == "__main__":
    main()
