import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.store import matrices
from landscape_cli.store.hdf5 import creating
from landscape_cli.store.locks import exclusive
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.matrix_writing import MatrixHead, assemble, identity_hash, write_matrix
from landscape_cli.store.tables import Table
from landscape_cli.store.tiles import Grid, TileFolder


def names(count: int, prefix: str = "m") -> Table:
    return Table.from_rows([
        {"name": f"{prefix}{i}", "key": f"k{i}", "seed": i, "reference": "truth" if i == count - 1 else ""}
        for i in range(count)
    ])  # fmt: skip


def symmetric(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((count, count))
    values = np.maximum(values, values.T)
    np.fill_diagonal(values, 0)
    return values


def head(rows: int, cols: int | None = None, **given: object) -> MatrixHead:
    table = names(rows)
    what: dict = {
        "distance": "bhattacharyya",
        "samples": 7,
        "classes": 3,
        "identity": {"a": 1},
        "command": "landscape x",
    }
    return MatrixHead(
        rows=table, cols=table if cols is None else names(cols, "c"), symmetric=cols is None, **{**what, **given}
    )


def make_tiles(
    path: Path, values: np.ndarray, tile: int, *, is_symmetric: bool = True, cap: float | None = None, **how: object
) -> Grid:
    grid = Grid(*values.shape, tile, is_symmetric)
    folder = TileFolder(path)
    folder.begin({"a": 1}, grid)
    for i, j in grid.tiles():
        block = values[grid.row_span(i), grid.col_span(j)]
        folder.write(
            i,
            j,
            identity_hash({"a": 1}),
            grid,
            lambda a, b, turned, v=block: (v.T if turned else v)[a:b],
            cap=cap,
            **how,
        )
    return grid


def tiled(path: Path, values: np.ndarray, tile: int, **given: object) -> Matrix:
    """A matrix over its tiles, in float64."""
    is_symmetric = given.pop("is_symmetric", True)
    cap = given.get("cap")
    grid = make_tiles(path, values, tile, is_symmetric=is_symmetric, cap=cap, dtype="float64")
    about = head(len(values), None if is_symmetric else values.shape[1], **given)
    assemble(path, about, identity_hash({"a": 1}), grid, "float64", merge_bytes=0)
    return Matrix.open(path)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 9), cols=st.integers(1, 9), tile=st.integers(1, 10), square=st.booleans(), merge=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: int, cols: int, tile: int, square: bool, merge: bool, seed: int
) -> None:
    """Whatever the tiles, merged or not: values, transposed reads, means and norms are those of the matrix."""
    rng = np.random.default_rng(seed)
    values = symmetric(rows, seed) if square else rng.random((rows, cols))
    path = tmp_path_factory.mktemp("matrix") / "m.h5"
    grid = make_tiles(path, values, tile, is_symmetric=square, dtype="float64")
    assemble(
        path, head(rows, None if square else cols), identity_hash({"a": 1}), grid, "float64",
        merge_bytes=10**9 if merge else 0,
    )  # fmt: skip
    matrix = Matrix.open(path)
    assert TileFolder(path).path.exists() == matrix.tiled == (not merge)
    assert np.array_equal(matrix.read(), values)
    assert np.array_equal(np.concatenate([b for _, b in matrix.blocks(2)]), values)
    assert [start for start, _ in matrix.blocks(2)] == list(range(0, rows, 2))
    down, across = (rng.integers(0, n, size=5) for n in values.shape)
    assert np.array_equal(matrix.read(down, across), values[np.ix_(down, across)])
    assert np.array_equal(matrix.read(slice(1, None), across), values[1:, across])
    assert np.array_equal(matrix.read(down[:0]), values[:0])
    with h5py.File(path) as file:
        assert np.array_equal(file["values"][()], values)
    np.testing.assert_allclose(matrix.row_means, values.mean(axis=1), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(matrix.col_means, values.mean(axis=0), rtol=1e-12, atol=1e-15)
    about = matrix.attributes
    assert about["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert about["frobenius"] == pytest.approx(np.linalg.norm(values), rel=1e-12)
    assert about["trace"] == 0
    if square and rows > 1:
        assert about["finite_mean"] == pytest.approx(values[np.triu_indices(rows, 1)].mean(), rel=1e-12)
        assert about["maximum"] == values.max()


@pytest.mark.parametrize("tile", [2, 100])
def test_infinite_entries_are_counted_and_named(tmp_path: Path, tile: int) -> None:
    values = symmetric(5)
    values[1, 4] = values[4, 1] = values[2, 3] = values[3, 2] = np.inf
    matrix = tiled(tmp_path / "m.h5", values, tile)
    assert matrix.infinite == 2
    assert matrix.infinite_pair() == ("m1", "m4")
    assert matrix.attributes["mean"] == np.inf
    finite = values[np.triu_indices(5, 1)]
    assert matrix.attributes["finite_mean"] == pytest.approx(finite[np.isfinite(finite)].mean())
    assert matrix.select(np.array([3, 2, 0])).infinite_pair() == ("m3", "m2")
    assert matrix.select(np.array([3, 0])).infinite_pair() is None
    capped = tiled(tmp_path / "capped.h5", values, tile, cap=0.7)
    assert (capped.infinite, capped.infinite_pair(), capped.cap) == (2, ("m1", "m4"), 0.7)
    assert np.array_equal(capped.read(), np.minimum(values, 0.7))
    assert capped.attributes["maximum"] == 0.7


def test_a_whole_matrix_from_memory_says_the_same(tmp_path: Path) -> None:
    values = symmetric(6)
    write_matrix(tmp_path / "a.h5", values, head(6))
    one, two = Matrix.open(tmp_path / "a.h5"), tiled(tmp_path / "b.h5", values, 2)
    assert np.array_equal(one.read(), two.read())
    for key in ("mean", "frobenius", "finite_mean", "maximum", "infinite"):
        assert one.attributes[key] == pytest.approx(two.attributes[key], rel=1e-14)
    with pytest.raises(DataError, match="transpose"):
        write_matrix(tmp_path / "c.h5", np.arange(9.0).reshape(3, 3), head(3))
    with pytest.raises(DataError, match="rows"):
        write_matrix(tmp_path / "c.h5", values, head(5))


def test_the_same_matrix_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_matrix(tmp_path / name, symmetric(4), head(4))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_views(tmp_path: Path) -> None:
    values = symmetric(7)
    matrix = tiled(tmp_path / "m.h5", values, 3)
    index = np.array([5, 0, 3, -1])
    some = matrix.select(index)
    assert np.array_equal(some.read(), values[np.ix_(index, index)])
    assert list(some.rows.column("name")) == ["m5", "m0", "m3", "m6"]
    assert np.array_equal(some.select(np.array([3, 0])).read(), values[np.ix_([6, 5], [6, 5])])
    assert np.array_equal(some.read(slice(1, 3), np.array([0])), values[np.ix_([0, 3], [5])])
    assert some.row_means is None
    assert "mean" not in some.attributes
    where = matrix.where("seed < 2")
    assert list(where.rows.column("name")) == ["m0", "m1", "m6"]  # the reference stays
    assert matrix.where(None) is matrix
    with pytest.raises(UsageError, match="no model"):
        matrix.where("seed > 5")
    with pytest.raises(UsageError, match="no model"):
        matrix.select(np.array([], dtype=np.int64))
    with pytest.raises(IndexError):
        matrix.select(np.array([7]))


def test_a_matrix_between_two_sets_has_no_square_views(tmp_path: Path) -> None:
    matrix = tiled(tmp_path / "m.h5", np.ones((2, 3)), 2, is_symmetric=False)
    assert list(matrix.cols.column("name")) == ["c0", "c1", "c2"]
    with pytest.raises(UsageError, match="two sets"):
        matrix.select(np.array([0]))


def test_a_missing_or_truncated_tile_is_named(tmp_path: Path) -> None:
    matrix = tiled(tmp_path / "m.h5", symmetric(6), 2)
    matrix.check()
    tile = TileFolder(tmp_path / "m.h5").file(0, 2)
    whole = tile.read_bytes()
    tile.write_bytes(whole[: len(whole) // 2])
    for act in (matrix.check, matrix.read, lambda: list(matrix.blocks())):
        with pytest.raises(DataError, match=r"tile-00000-00002\.h5") as caught:
            act()
        assert "landscape x" in (caught.value.hint or "")
    assert np.isfinite(matrix.read(slice(2, 4), slice(2, 4))).all()
    tile.unlink()
    with pytest.raises(DataError, match=r"tile-00000-00002\.h5 does not exist"):
        matrix.read(np.array([5]))
    shutil.copy(TileFolder(tmp_path / "m.h5").file(1, 2), tile)
    with pytest.raises(DataError, match="another of its tiles"):
        matrix.read()
    other = tiled(tmp_path / "other.h5", symmetric(6), 3)
    shutil.copy(other.folder.file(0, 0), tile)
    with pytest.raises(DataError, match="another matrix"):
        matrix.read()


def test_files_that_are_no_matrix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Matrix.open(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DataError, match="no HDF5"):
        Matrix.open(tmp_path / "text.h5")
    with creating(tmp_path / "other.h5") as file:
        file.attrs["kind"] = "predictions"
    with pytest.raises(DataError, match="predictions"):
        Matrix.open(tmp_path / "other.h5")
    write_matrix(tmp_path / "m.h5", symmetric(3), head(3))
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(DataError, match="newer"):
        Matrix.open(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["schema"] = 1
        del file["row_means"]
    with pytest.raises(DataError, match="damaged"):
        Matrix.open(tmp_path / "m.h5")


def test_moved_together_a_matrix_and_its_tiles_stay_one(tmp_path: Path) -> None:
    values = symmetric(5)
    tiled(tmp_path / "m.h5", values, 2)
    shutil.move(tmp_path, moved := tmp_path.with_name(tmp_path.name + "-moved"))
    (moved / "m.h5").rename(moved / "renamed.h5")
    assert np.array_equal(Matrix.open(moved / "renamed.h5").read(), values)
    shutil.rmtree(moved)


def test_many_tiles_do_not_keep_many_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "OPEN_TILES", 3)
    values = symmetric(7)
    matrix = tiled(tmp_path / "m.h5", values, 1)
    assert np.array_equal(matrix.read(), values)


def test_a_full_disk_keeps_earlier_tiles(tmp_path: Path) -> None:
    """The system itself refuses to write more than 200 kB: a real failure inside the real writer."""
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
        from pathlib import Path
        import numpy as np
        from landscape_cli.errors import StorageError
        from landscape_cli.store.tiles import Grid, TileFolder
        folder = TileFolder(Path({str(tmp_path)!r}) / "m.h5")
        grid = Grid(400, 400, 200, True)
        folder.begin({{}}, grid)
        values = np.ones((200, 200))
        folder.write(0, 0, "x", grid, lambda a, b, t: values[a:b])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            folder.write(0, 1, "x", grid, lambda a, b, t: values[a:b])
        except StorageError as error:
            print(error.message, error.hint)
        assert folder.is_finished(0, 0, "x", grid) and not folder.is_finished(0, 1, "x", grid)
        print(sorted(p.name for p in folder.path.iterdir()))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert "finished work is kept" in done.stdout
    assert done.stdout.splitlines()[-1] == "['plan.json', 'tile-00000-00000.h5']"
    assert done.stderr == ""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_one_process_a_folder_and_one_a_shard(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path / "m.h5")
    with folder.shard_held((1, 2)) as whole:
        whole.close()  # the plan is made: others may begin
        with folder.shard_held((2, 2)) as other:
            other.close()
        with pytest.raises(ConflictError, match="shard-1-of-2"), folder.held():
            pass
    with folder.held(), pytest.raises(ConflictError), exclusive(folder.path):
        pass
