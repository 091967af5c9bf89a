import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.errors import ConflictError, DataError
from landscape_cli.store.atomic import remove_leftovers_of
from landscape_cli.store.hdf5 import copy_bytes, creating, open_hdf5
from landscape_cli.store.locks import exclusive_file


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with creating(path) as file:
        file.create_dataset("x", data=np.arange(100_000), track_times=False)
        assert not path.exists()
    with h5py.File(path) as file:
        assert file["x"][-1] == 99_999
    with pytest.raises(ZeroDivisionError), creating(path) as file:
        file["x"] = 1
        raise ZeroDivisionError
    with h5py.File(path) as file:
        assert file["x"].shape == (100_000,)
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("limit", [100, 5_000, 300_000])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path, limit: int) -> None:
    """HDF5 on its own crashes the interpreter there; the failure may come first when the file is closed."""
    code = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from landscape_cli.errors import StorageError
        from landscape_cli.store.hdf5 import creating
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            with creating(Path({str(tmp_path)!r}) / "x.h5") as file:
                for number in range(30):
                    file.create_dataset(str(number), data=np.ones(5000), chunks=(500,), compression="lzf")
                    file.create_dataset(f"plain-{{number}}", data=np.ones(5000))
        except StorageError as error:
            print(error.message)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "x.h5: could not be written: File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_kinds_are_checked(tmp_path: Path) -> None:
    with creating(tmp_path / "x.h5") as file:
        file.attrs.update({"kind": "distances", "schema": 3})
    for wanted in (None, "distances"):
        with open_hdf5(tmp_path / "x.h5", wanted, 3) as file:
            assert file.attrs["kind"] == "distances"
    with pytest.raises(DataError, match="newer landscape"):
        open_hdf5(tmp_path / "x.h5", "distances", 2)
    with pytest.raises(DataError, match="holds 'distances', not embedding"):
        open_hdf5(tmp_path / "x.h5", "embedding", 3)


@pytest.mark.parametrize("system", [True, False])
def test_bytes_are_copied_with_and_without_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bool
) -> None:
    if not system:
        monkeypatch.delattr("os.copy_file_range")
    data = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(bytes(100_000))
    with (tmp_path / "a").open("rb") as a, (tmp_path / "b").open("r+b") as b:
        copy_bytes(a.fileno(), b.fileno(), 10, 500, 90_000)
        with pytest.raises(OSError, match="shorter"):
            copy_bytes(a.fileno(), b.fileno(), 99_000, 95_000, 2_000)
    assert (tmp_path / "b").read_bytes()[500:90_500] == data[10:90_010]


def test_one_holder_a_file_and_the_lock_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.h5"
    with exclusive_file(path), exclusive_file(path.with_name("y.h5")):
        assert sorted(p.name for p in path.parent.iterdir()) == [".x.h5.lock", ".y.h5.lock"]
        with pytest.raises(ConflictError, match=r"x\.h5 is being written by process"), exclusive_file(path):
            pass
    assert list(path.parent.iterdir()) == []
    with exclusive_file(path):
        pass


def test_leftovers_of_one_file_only(tmp_path: Path) -> None:
    for name in (".partial-12-x.h5", ".partial-3-.partial-3-x.h5", ".partial-12-my-x.h5", "x.h5", "a.partial-1-x.h5"):
        (tmp_path / name).touch()
    remove_leftovers_of(tmp_path / "x.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".partial-12-my-x.h5", "a.partial-1-x.h5", "x.h5"]
