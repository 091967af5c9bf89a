"""Loaders against files in the original layouts, made here byte by byte, and against the real files where a folder
with them is named in LANDSCAPE_TEST_DATA (they are too large to be part of the project)."""

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from landscape_cli.datasets import DataSpec, Normalization, load
from landscape_cli.datasets.dataset import channel_statistics
from landscape_cli.errors import DataError, UsageError

RANDOM = np.random.default_rng(0)
REAL = os.environ.get("LANDSCAPE_TEST_DATA")


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    return RANDOM.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), RANDOM.integers(0, 10, count)


def cifar10_python(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True)
    images, labels = pictures(60)
    for number in range(6):
        part = slice(10 * number, 10 * number + 10)
        content = {b"data": images[part].reshape(10, -1), b"labels": labels[part].tolist()}
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [f"c{i}".encode() for i in range(10)]}))
    return images, labels


def test_digits_are_the_real_ones_split_without_chance() -> None:
    from sklearn.datasets import load_digits

    data = load(DataSpec("digits"))
    bunch = load_digits()
    assert (len(data.train), len(data.test), data.classes, data.input_shape) == (1442, 355, 10, (1, 8, 8))
    whole = np.concatenate([data.train.inputs, data.test.inputs]).reshape(-1, 64) * 16
    assert np.array_equal(whole[np.lexsort(whole.T)], bunch.data[np.lexsort(bunch.data.T)].astype(np.float32))
    assert (np.bincount(data.test.labels) == np.bincount(bunch.target) // 5).all()
    assert load(DataSpec("digits")).fingerprint == data.fingerprint


def test_digits_do_not_depend_on_where_scikit_learn_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.datasets import digits

    before = load(DataSpec("digits")).fingerprint
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    assert load(DataSpec("digits")).fingerprint == before


def test_cifar10_python_batches(tmp_path: Path) -> None:
    images, labels = cifar10_python(tmp_path / "cifar-10-batches-py")
    for folder in (tmp_path, tmp_path / "cifar-10-batches-py"):
        data = load(DataSpec(f"cifar10:{folder}"))
        assert np.array_equal(data.train.inputs, images[:50])
        assert np.array_equal(data.test.labels, labels[50:])
        assert data.class_names == tuple(f"c{i}" for i in range(10))


def test_cifar10_binary_is_the_same_data(tmp_path: Path) -> None:
    images, labels = cifar10_python(tmp_path / "cifar-10-batches-py")
    folder = tmp_path / "binary" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rows = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(60, -1)], axis=1)
    for number in range(6):
        name = f"data_batch_{number + 1}.bin" if number < 5 else "test_batch.bin"
        rows[10 * number : 10 * number + 10].tofile(folder / name)
    python, binary = (load(DataSpec(f"cifar10:{path}")) for path in (tmp_path, tmp_path / "binary"))
    assert python.fingerprint == binary.fingerprint
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="cut off"):
        load(DataSpec(f"cifar10:{tmp_path / 'binary'}"))


def test_cifar100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    images, _ = pictures(20)
    fine, coarse = RANDOM.integers(0, 100, 20), RANDOM.integers(0, 20, 20)
    for name, part in (("train", slice(0, 15)), ("test", slice(15, 20))):
        content = {"data": images[part].reshape(-1, 3072), "fine_labels": fine[part].tolist()}
        content["coarse_labels"] = coarse[part].tolist()
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    data = load(DataSpec(f"cifar100:{tmp_path}"))
    assert (data.classes, list(data.test.labels)) == (100, list(fine[15:]))
    data = load(DataSpec(f"cifar100:{tmp_path}", {"labels": "coarse"}))
    assert (data.classes, list(data.test.labels)) == (20, list(coarse[15:]))
    rows = np.concatenate(
        [coarse[:, None].astype(np.uint8), fine[:, None].astype(np.uint8), images.reshape(20, -1)], axis=1
    )
    binary = tmp_path / "cifar-100-binary"
    binary.mkdir()
    (tmp_path / "train").unlink()
    rows[:15].tofile(binary / "train.bin")
    rows[15:].tofile(binary / "test.bin")
    assert list(load(DataSpec(f"cifar100:{tmp_path}")).train.labels) == list(fine[:15])


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-run",)


def test_a_doctored_batch_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    cifar10_python(folder)
    (folder / "data_batch_3").write_bytes(pickle.dumps({"data": Attack(), "labels": []}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"data_batch_3 is no CIFAR batch: it asks for .*system"):
        load(DataSpec(f"cifar10:{tmp_path}"))
    assert not (tmp_path / "was-run").exists()


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(tmp_path: Path, packed: bool, name: str) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    images = RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 10
    for stem, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        for kind, array in (("images-idx3-ubyte", images[part]), ("labels-idx1-ubyte", labels[part])):
            raw = idx(array)
            (folder / f"{stem}-{kind}{'.gz' if packed else ''}").write_bytes(gzip.compress(raw) if packed else raw)
    data = load(DataSpec(f"{name}:{tmp_path}"))
    assert np.array_equal(data.train.inputs[:, 0], images[:20])
    assert (data.input_shape, data.classes) == ((1, 28, 28), 10)
    victim = next(folder.glob("t10k-images*"))
    victim.write_bytes(gzip.compress(idx(images[:5])[:-1]) if packed else idx(images[:5])[:-1])
    with pytest.raises(DataError, match="cut off"):
        load(DataSpec(f"{name}:{tmp_path}"))


def test_npz(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=images[:8], y_train=np.arange(8) % 4, x_test=images[8:], y_test=np.arange(4.0)[:, None])
    data = load(DataSpec(f"npz:{path}"))
    assert (data.input_shape, data.classes) == ((3, 9, 9), 4)
    assert np.array_equal(data.test.inputs, images[8:].transpose(0, 3, 1, 2))
    assert load(DataSpec(f"npz:{path}", {"classes": "7"})).classes == 7
    np.savez(path, x_train=images, y_train=np.arange(12))
    with pytest.raises(DataError, match="holds no test inputs"):
        load(DataSpec(f"npz:{path}"))
    np.savez(path, x_train=np.array([Attack()], dtype=object), y_train=[0], x_test=[0], y_test=[0])
    with pytest.raises(DataError, match="no readable"):
        load(DataSpec(f"npz:{path}"))


def test_imagefolder(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is an extra")
    for part, count in (("train", 3), ("val", 1)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = RANDOM.integers(0, 256, (12, 16, 3), dtype=np.uint8)
                image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    data = load(DataSpec(f"imagefolder:{tmp_path}"))
    assert (data.input_shape, data.classes, data.class_names) == ((3, 12, 16), 2, ("cat", "dog"))
    assert list(data.train.labels) == [0, 0, 0, 1, 1, 1]
    assert load(DataSpec(f"imagefolder:{tmp_path}", {"size": "8", "channels": "gray"})).input_shape == (1, 8, 8)
    image.fromarray(RANDOM.integers(0, 256, (5, 5, 3), dtype=np.uint8)).save(tmp_path / "val" / "dog" / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png is 5×5") as caught:
        load(DataSpec(f"imagefolder:{tmp_path}"))
    assert "size=" in (caught.value.hint or "")
    (tmp_path / "val" / "dog" / "odd.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"odd\.png is no readable image"):
        load(DataSpec(f"imagefolder:{tmp_path}"))


@pytest.mark.parametrize("name", ["sloppy", "isotropic"])
def test_synthetic_data_follow_their_definition(name: str) -> None:
    decay = {"sloppy": 0.5, "isotropic": 0.001}[name]
    data = load(DataSpec(f"synthetic:{name}", {"train": "40000"}))
    expected = 50 * decay * np.exp(-decay * np.arange(200)) / 200
    measured = data.train.inputs.astype(np.float64).var(axis=0)
    large = expected > 1e-12
    assert np.abs(measured[large] / expected[large] - 1).max() < 0.05
    default = load(DataSpec(f"synthetic:{name}"))
    assert (len(default.train), len(default.test), default.classes) == (5000, 1000, 5)
    assert default.normalization is None
    assert np.bincount(default.train.labels, minlength=5).min() > 100
    assert default.fingerprint == load(DataSpec(f"synthetic:{name}")).fingerprint
    assert default.fingerprint != load(DataSpec(f"synthetic:{name}", {"seed": "1"})).fingerprint


def test_own_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mydata.py").write_text(
        "import numpy as np\n"
        "x, y = np.ones((6, 4), dtype=np.float32), np.arange(6) % 3\n"
        "def arrays(n=6): return x[:n], y[:n], x, y\n"
        "def mapping(): return dict(x_train=x, y_train=y, x_test=x, y_test=y, class_names=['a', 'b', 'c', 'd'])\n"
        "def pairs(): return list(zip(x, y)), list(zip(x, y))\n"
        "def nothing(): return 3\n"
        "def broken(): raise RuntimeError('no')\n"
    )
    assert len(load(DataSpec(f"{tmp_path / 'mydata.py'}:arrays", {"n": "5"})).train) == 5
    monkeypatch.chdir(tmp_path)
    assert load(DataSpec("mydata:mapping")).classes == 4
    assert load(DataSpec("mydata:pairs")).input_shape == (4,)
    with pytest.raises(DataError, match="returned int"):
        load(DataSpec("mydata:nothing"))
    with pytest.raises(UsageError, match="there is no function 'array'"):
        load(DataSpec("mydata:array"))
    with pytest.raises(DataError, match="mydata:broken raised RuntimeError: no"):
        load(DataSpec("mydata:broken"))
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match="could not be imported: ZeroDivisionError"):
        load(DataSpec("bad:array"))


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("cifar11:x", {}, UsageError, "no data set 'cifar11:x'"),
        ("cifar10", {}, UsageError, "needs a path"),
        ("cifar10:nowhere", {}, DataError, "nowhere does not exist"),
        ("mnist:nowhere", {}, DataError, "nowhere does not exist"),
        ("npz:nowhere", {}, DataError, "nowhere does not exist"),
        ("imagefolder:nowhere", {}, DataError, "does not exist"),
        ("digits:2", {}, UsageError, "takes no argument"),
        ("digits", {"size": "3"}, UsageError, "has no option 'size'"),
        ("synthetic:odd", {}, UsageError, "no synthetic data set 'odd'"),
        ("synthetic:sloppy", {"train": "many"}, UsageError, "'many' does not fit"),
        ("digits", {"mean": "0.5"}, UsageError, "mean and std come together"),
        ("digits", {"mean": "0.5,0.5", "std": "1,1"}, DataError, "1 channels"),
        ("digits", {"normalize": "twice"}, UsageError, "normalize 'twice'"),
    ],
)
def test_what_cannot_be_loaded_is_named(source: str, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(DataSpec(source, options))


def test_normalization_is_of_the_whole_training_part() -> None:
    data = load(DataSpec("digits"))
    assert data.normalization == channel_statistics(data.train.inputs)
    assert load(DataSpec("digits", train_size=100)).normalization == data.normalization
    assert load(DataSpec("digits", {"normalize": "none"})).normalization is None
    assert load(DataSpec("digits", {"mean": "0.5", "std": "0.25"})).normalization == Normalization((0.5,), (0.25,))


def test_statistics_of_bytes_are_those_of_numpy() -> None:
    images, _ = pictures(50)
    found = channel_statistics(images)
    assert np.allclose(found.mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(found.std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-12)


@pytest.mark.skipif(REAL is None, reason="LANDSCAPE_TEST_DATA names no folder with the real files")
def test_the_real_cifar10_and_fashion_mnist() -> None:
    cifar = load(DataSpec(f"cifar10:{REAL}"))
    assert (len(cifar.train), len(cifar.test)) == (50_000, 10_000)
    assert (np.bincount(cifar.train.labels) == 5000).all()
    assert cifar.normalization is not None
    assert np.allclose(cifar.normalization.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    assert np.allclose(cifar.normalization.std, (0.2470, 0.2435, 0.2616), atol=5e-5)
    assert cifar.class_names is not None
    assert cifar.class_names[cifar.train.labels[0]] == "frog"
    fashion = load(DataSpec(f"fashion-mnist:{REAL}"))
    assert (len(fashion.train), len(fashion.test)) == (60_000, 10_000)
    assert fashion.normalization is not None
    assert np.allclose([fashion.normalization.mean[0], fashion.normalization.std[0]], (0.2860, 0.3530), atol=5e-5)
