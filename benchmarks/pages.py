"""Size of the page of 20,000 embedded points, and what a frame costs when it is turned, in a headless browser.

python benchmarks/pages.py [MODELS]

Chromium draws without a GPU, on a window of 1,600 × 1,000 pixels; after each frame a pixel is read back, so that the
time is that of the whole drawing. Targets: under 10 MB, under 50 ms a frame. The page is what ``landscape plot`` writes:
runs joined by lines, geodesic, truth, ignorance, 16 columns.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from landscape_cli.plots.embedded import Embedded
from landscape_cli.plots.interactive import interactive_page
from landscape_cli.store.tables import Table

FRAMES = 40
MEASURE = """
const times = [], ways = {};
const turned = (name) => {
  for (let k = 0; k < %(frames)d; k++) {
    const began = performance.now();
    state.yaw += 0.05;
    draw();
    pen.getImageData(0, 0, 1, 1);
    times.push(performance.now() - began);
  }
  ways[name] = times.splice(0);
};
turned("turned");
state.zoom = 8;
turned("zoomed in eight times");
state.zoom = 1;
state.shown.tracks = false;
turned("without lines");
document.body.dataset.frames = JSON.stringify({ width: canvas.width, height: canvas.height, ways });
"""


def made(models: int) -> Embedded:
    """Runs of 100 checkpoints that go from ignorance to truth on ways of their own."""
    rng = np.random.default_rng(0)
    runs = models // 100
    t = np.linspace(0, 1, 100)
    bends = rng.normal(size=(runs, 5)) * 0.4
    points = [t * 3 - 1.5, *(bends[:, [k]] * np.sin(np.pi * t * (1 + k % 3)) for k in range(5))]
    coordinates = np.stack([np.broadcast_to(p, (runs, 100)) for p in points], axis=-1).reshape(-1, 6)
    coordinates = coordinates + 0.01 * rng.normal(size=coordinates.shape)
    networks = np.array(["resnet20", "wrn-16-4", "simple-cnn", "mlp", "allcnn", "vit"], dtype=object)
    run = np.repeat(np.arange(runs), 100)
    columns = {
        "name": np.array([f"runs/{networks[r % 6]}-sgd-lr0.1-s{r}@{k}ep" for r in range(runs) for k in range(100)], object),
        "run": np.array([f"runs/{networks[r % 6]}-sgd-lr0.1-s{r}" for r in run], object),
        "network": networks[run % 6], "optimizer": np.array(["sgd", "adam", "nesterov"], object)[run % 3],
        "step": np.tile(np.arange(100) * 39, runs), "epoch": np.tile(t * 100, runs), "seed": run % 10,
        **{f"number{k}": rng.normal(size=models) for k in range(8)},
    }  # fmt: skip
    geodesic = np.zeros((52, 6))
    geodesic[:, 0] = np.linspace(-1.5, 1.5, 52)
    kinds = ["ignorance", *["geodesic"] * 50, "truth"]
    fill = {name: np.full(52, "" if v.dtype == object else np.nan, v.dtype if v.dtype == object else float)
            for name, v in columns.items()}  # fmt: skip
    table = {
        name: np.concatenate([v if v.dtype == object else v.astype(float), fill[name]]) for name, v in columns.items()
    }
    table["reference"] = np.array([""] * models + kinds, dtype=object)
    table["progress"] = np.concatenate([np.tile(t, runs), np.linspace(0, 1, 52)])
    return Embedded(np.concatenate([coordinates, geodesic]), np.array([4.0, -1.5, 0.5, 0.2, 0.1, -0.05]), Table(table))


def main() -> None:
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    began = time.perf_counter()
    page = interactive_page(made(models), color="network")
    print(
        f"{models:,} models: {len(page.encode()) / 1e6:.2f} MB (target < 10), made in {time.perf_counter() - began:.2f} s"
    )
    if browser is None:
        print("no Chromium is installed: no frame times")
        return
    end = page.rindex("})();")
    page = page[:end] + MEASURE % {"frames": FRAMES} + page[end:]
    page = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000",
             f"--user-data-dir={folder}/profile", "--enable-logging=stderr", "--dump-dom", file.as_uri()],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    found = re.search(r'data-frames="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    told = json.loads(found[1].replace("&quot;", '"'))
    for name, times in told["ways"].items():
        print(
            f"{name}, {told['width']} × {told['height']} pixels: {statistics.median(times):.1f} ms a frame, "
            f"at most {max(times):.1f} (target < 50)"
        )


if __name__ == "__main__":
    main()
