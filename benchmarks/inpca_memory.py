"""Peak memory and passes of InPCA over a matrix of distances in tiles on disk.

python benchmarks/inpca_memory.py            M = 20,000: float32 tiles of 1.6 GB (3.2 GB with their transposes)
python benchmarks/inpca_memory.py --quick    M = 3,000

The distances are Minkowski intervals of points in 60 dimensions of both signs whose extents fall off as a power, as in
the embeddings of Mao et al. 2023 (there 3 dimensions explain 76 % of the stress, 50 dimensions 98 %), and noise. The
targets: the ten leading dimensions in at most 12 passes over D and less than 2 GB, interpreter and torch included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from landscape_cli.store.matrix_writing import MatrixHead, assemble, identity_hash
from landscape_cli.store.tables import Table
from landscape_cli.store.tiles import Grid, TileFolder

DIMS, NOISE, TILE = 60, 0.02, 1_000

CHILD = """
import json, resource, sys, time
from landscape_cli.compute.predictions.embedding import inpca
from landscape_cli.jobs.matrix_rows import MatrixRows
from landscape_cli.store.matrices import Matrix
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
found = inpca(MatrixRows(Matrix.open(sys.argv[1])), 10, solver="krylov")
seconds = time.perf_counter() - start
print(json.dumps({
    "passes": found.passes, "converged": found.converged, "residual": float(found.residuals.max()),
    "seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "before": before,
    "signature": found.signature.astype(int).tolist(), "stress": found.explained_stress.tolist(),
    "pairwise": found.explained_l2.tolist(),
}))
"""


def make(path, models, decay):
    """Tiles of a synthetic matrix; any block is made alone, its noise by a hash of its entries' positions."""
    rng = np.random.default_rng(0)
    signs = np.where(np.arange(DIMS) % 3 == 1, -1.0, 1.0)
    # Trajectories, not a cloud: progress along a curve in each dimension, and a spread around it.
    progress = np.sort(rng.random(models))[:, None]
    phases = np.arange(DIMS) / 2
    points = np.cos(np.pi * (phases * progress + phases)) + 0.3 * rng.normal(size=(models, DIMS))
    points *= np.arange(1, DIMS + 1) ** (-decay / 2)
    squares = (signs * points**2).sum(axis=1)
    low, high = rng.random((2, models))

    def block(rows, cols):
        smooth = squares[rows][:, None] + squares[cols] - 2 * (points[rows] * signs) @ points[cols].T
        first, last = np.minimum(low[rows][:, None], low[cols]), np.maximum(high[rows][:, None], high[cols])
        noise = np.modf(43758.5453 * np.abs(np.sin(12.9898 * first + 78.233 * last)))[0] - 0.5
        values = np.abs(smooth + NOISE * noise)
        same = np.arange(models)[rows][:, None] == np.arange(models)[cols]
        return np.where(same, 0.0, values)

    grid = Grid(models, models, TILE, symmetric=True)
    rows = Table.from_rows([{"name": f"m{i}", "key": f"m{i}", "reference": ""} for i in range(models)])
    head = MatrixHead("bhattacharyya", rows, rows, True, 1, 2, identity={"benchmark": models, "decay": decay})
    identity = identity_hash(head.identity)
    folder = TileFolder(path)
    folder.begin(head.identity, grid)
    for i, j in grid.tiles():
        down, across = grid.row_span(i), grid.col_span(j)

        def strip(start, stop, transposed, down=down, across=across):
            if transposed:
                return block(down, slice(across.start + start, across.start + stop)).T
            return block(slice(down.start + start, down.start + stop), across)

        folder.write(i, j, identity, grid, strip)
    assemble(path, head, identity, grid, "float32", merge_bytes=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    models = 3_000 if parser.parse_args().quick else 20_000
    print(f"InPCA, 10 dimensions of {models} models from tiles on disk (target: 12 passes, 2,000 MB)")
    for decay in (2.0, 1.0):
        with tempfile.TemporaryDirectory() as folder:
            path, start = Path(folder) / "distances.h5", time.perf_counter()
            make(path, models, decay)
            made = time.perf_counter() - start
            done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        print(
            f"  extents ~ k^-{decay:g}: {found['passes']} passes, peak {found['peak'] / 1000:.0f} MB "
            f"({(found['peak'] - found['before']) / 1000:.0f} MB over the imports), {found['seconds']:.1f} s, "
            f"largest residual {found['residual']:.1e}; explained stress of 3 and 10 dimensions "
            f"{found['stress'][2]:.2f} {found['stress'][9]:.2f}, pairwise {found['pairwise'][2]:.2f} "
            f"{found['pairwise'][9]:.2f}; signature {found['signature']} (tiles made in {made:.0f} s)"
        )


if __name__ == "__main__":
    main()
