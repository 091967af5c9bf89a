"""Planes on disk: what is written is read, infinite and missing values stay apart, damage is named."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.errors import DataError
from landscape_cli.store.planes import StoredPlane
from landscape_cli.store.tables import Table


def made(**changes: object) -> StoredPlane:
    loss = np.asarray([[0.5, np.inf, np.nan], [2.0, 3.0, np.nan]])
    known = np.asarray([[True, True, True], [True, True, False]])
    corners = Table.from_rows([{"role": "A", "name": "runs/ä@2ep", "x": 0.0, "y": 0.0, "test_loss": 0.5}])
    plane = StoredPlane(
        np.asarray([-1.0, 0.5, 2.0]), np.asarray([0.0, 1.0]), known, {"test": {"loss": loss}}, corners,
        Table.from_rows([]), attributes={"units": "weights", "identity": {"b": [1, 2]}, "record": {"kind": "plane"}},
    )  # fmt: skip
    return StoredPlane(**{**vars(plane), **changes})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    track = Table.from_rows([{"run": "r", "name": "r@1ep", "step": 3, "x": 0.1, "y": 0.2, "off": 7.0}])
    for plane in (made(), made(trajectories=track, stride=4)):
        plane.write(tmp_path / "p.h5")
        found = StoredPlane.open(tmp_path / "p.h5")
        for name in ("x", "y", "measured"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plane, name))
        np.testing.assert_array_equal(found.values["test"]["loss"], plane.values["test"]["loss"])
        assert found.corners.rows() == plane.corners.rows()
        assert found.trajectories.rows() == plane.trajectories.rows()
        assert (found.stride, found.splits) == (plane.stride, ["test"])
        assert found.attributes["identity"] == {"b": [1, 2]}


def test_the_same_plane_is_the_same_file_and_has_named_axes(tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        made().write(tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        dims = file["values/test/loss"].dims
        assert [dim.keys() for dim in dims] == [["y"], ["x"]]


def test_other_files_and_damage_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        StoredPlane.open(tmp_path / "p.h5")
    made().write(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5", "a") as file:
        del file["measured"]
    with pytest.raises(DataError, match="is damaged"):
        StoredPlane.open(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file.attrs["kind"] = "distances"
    with pytest.raises(DataError, match="holds 'distances', not plane"):
        StoredPlane.open(tmp_path / "p.h5")
