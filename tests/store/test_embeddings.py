from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.errors import DataError
from landscape_cli.store.embeddings import Embedding, Overlay, ThreeCoordinates
from landscape_cli.store.tables import Table


def embedding(models: int = 6, dims: int = 3) -> Embedding:
    rng = np.random.default_rng(0)
    rows = Table.from_rows(
        [
            {
                "key": f"k{i}",
                "name": f"m{i}",
                "reference": "" if i < models - 1 else "truth",
                "placed": "embedded",
                "lr": 0.1 * i,
            }
            for i in range(models)
        ]
    )
    over = Overlay("other.h5", rng.normal(size=(models, 2)), 0.25, 5, np.eye(2), np.zeros(2), 1.5)
    three = ThreeCoordinates(
        over,
        rng.normal(size=(models, 3)),
        np.array([2.0, -1.0, 0.5]),
        (0.3, 0.7),
        0.05,
        (3.5, 4.5),
        rng.random(3),
        rng.random(3),
    )
    return Embedding(
        method="inpca",
        distance="bhattacharyya",
        rows=rows,
        coordinates=rng.normal(size=(models, dims)),
        eigenvalues=np.array([3.0, -2.0, 1.0])[:dims],
        signature=np.array([1.0, -1.0, 1.0])[:dims],
        explained_stress=rng.random(dims),
        residuals=rng.random(dims) * 1e-12,
        row_means=rng.random(models),
        weights=np.array([1.0] * (models - 1) + [0.0]),
        norm=4.0,
        trace=2.0,
        mean=0.5,
        samples=100,
        classes=10,
        passes=1,
        converged=True,
        solver="dense",
        cap=13.8,
        explained_l1=rng.random(dims),
        explained_l2=rng.random(dims),
        frame_coordinates=rng.normal(size=(models - 1, dims)),
        test_explained_l1=rng.random(dims),
        test_explained_l2=rng.random(dims),
        source={"kind": "distances", "path": "d.h5", "seed": 3},
        settings={"dims": dims, "near": [0.3, 0.7]},
        command="landscape inpca d.h5",
        overlay=over,
        reading=three,
    )


def same(one: object, two: object) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two, equal_nan=True)
    if isinstance(one, Table):
        return isinstance(two, Table) and one.rows() == two.rows()
    if isinstance(one, Embedding | Overlay | ThreeCoordinates):
        return all(same(getattr(one, f.name), getattr(two, f.name)) for f in fields(one) if f.name != "path")
    return one == two


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    embedding().write(path)
    found = Embedding.open(path)
    assert same(embedding(), found)
    assert found.path == path
    assert (found.dims, found.shaping.tolist(), found.models.tolist()) == (3, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_what_is_not_there_stays_away(tmp_path: Path) -> None:
    plain = replace(
        embedding(), cap=None, explained_l1=None, explained_l2=None, frame_coordinates=None, test_explained_l1=None,
        test_explained_l2=None, overlay=None, reading=None,
    )  # fmt: skip
    plain.write(tmp_path / "e.h5")
    assert same(plain, Embedding.open(tmp_path / "e.h5"))


def test_the_same_embedding_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        embedding().write(tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_reading_is_extended_by_models_without_a_place_in_it() -> None:
    reading = embedding().reading
    assert reading is not None
    wider = reading.extended(9)
    assert np.isnan(wider.own_coordinates[6:]).all()
    assert np.array_equal(wider.own_coordinates[:6], reading.own_coordinates)
    assert wider.overlay.coordinates.shape == (9, 2)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Embedding.open(tmp_path / "e.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(DataError, match="no HDF5 file"):
        Embedding.open(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["kind"] = "distances"
    with pytest.raises(DataError, match="holds 'distances', not embedding"):
        Embedding.open(tmp_path / "other.h5")
    embedding().write(tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5", "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(DataError, match="newer landscape"):
        Embedding.open(tmp_path / "new.h5")


@pytest.mark.parametrize("name", ["coordinates", "eigenvalues", "rows", "weights"])
def test_a_file_without_a_part_is_damaged(tmp_path: Path, name: str) -> None:
    path = tmp_path / "e.h5"
    embedding().write(path)
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(DataError, match="is damaged"):
        Embedding.open(path)


def test_parts_of_different_sizes_are_damage(tmp_path: Path) -> None:
    replace(embedding(), weights=np.ones(4)).write(tmp_path / "e.h5")
    with pytest.raises(DataError, match="different sizes"):
        Embedding.open(tmp_path / "e.h5")
