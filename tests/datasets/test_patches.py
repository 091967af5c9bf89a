"""Patch-augmented images: exact groups, a patch that decides the class and that no linear classifier reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from landscape_cli.datasets import DataSet, DataSpec, load
from landscape_cli.datasets.patches import groups
from landscape_cli.datasets.registry import SOURCES
from landscape_cli.errors import DataError, UsageError

PLACE = (slice(None), slice(2, 5), slice(2, 5))  # 3×3 in the middle of 8×8


def patches(**options: object) -> DataSet:
    return load(DataSpec("patches:digits", {f"patch_{name}": value for name, value in options.items()}))


def units(data: DataSet, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inputs as the network sees them, by the formula."""
    assert data.normalization is not None
    mean, std = data.normalization.mean[0], data.normalization.std[0]
    return (inputs.astype(np.float64) - mean) / std


def patterns(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z and v of every class, drawn again from the documented stream."""
    random = np.random.Generator(np.random.PCG64([seed, 5]))
    return 1.25 * random.standard_normal((1, 3, 3)), random.uniform(-0.1, 0.1, (10, 1, 3, 3))


@given(st.integers(1, 300), st.integers(0, 10), st.integers(0, 10), st.integers(0, 5))
def test_groups_have_exact_counts(count: int, a: int, b: int, seed: int) -> None:
    shares = (a / 20, b / 20, 1 - a / 20 - b / 20)
    found = np.bincount(groups(count, shares, np.random.default_rng(seed)), minlength=3)
    assert found.sum() == count
    assert (np.abs(found - count * np.array(shares)) < 1 + 1e-9).all()


def test_the_three_groups_of_the_lecture() -> None:
    data, plain = patches(), load(DataSpec("digits"))
    for name in ("train", "test"):
        mine, theirs = data.split(name), plain.split(name)
        assert np.array_equal(mine.labels, theirs.labels)
        outside = np.ones(mine.inputs.shape[1:], dtype=bool)
        outside[PLACE] = False
        untouched = (mine.inputs == theirs.inputs).all((1, 2, 3))
        content = (mine.inputs[:, outside] == theirs.inputs[:, outside]).all(1)
        empty = np.abs(units(data, mine.inputs)[:, outside]).max(1) < 1e-6  # the mean image
        count = len(mine)
        assert abs(untouched.sum() - 0.2 * count) < 1
        assert abs(empty.sum() - 0.2 * count) < 1
        assert abs((content & ~untouched).sum() - 0.6 * count) < 1
        assert not (empty & content).any()


def test_the_patch_is_z_plus_or_minus_v_and_decides_the_class() -> None:
    data = patches()
    z, v = patterns()
    probe = data.split("patch")
    rest = units(data, probe.inputs)[(slice(None), *PLACE)] - z
    flat, faint = rest.reshape(len(rest), -1), v.reshape(10, -1)
    factor = (flat @ faint.T) / (faint**2).sum(1)
    residual = ((flat[:, None] - factor[..., None] * faint) ** 2).sum(-1)
    assert np.array_equal(residual.argmin(1), probe.labels)
    own = factor[np.arange(len(probe)), probe.labels]
    assert residual.min(1).max() < 1e-12
    assert 1.5 < np.abs(own).max() < 1.75
    assert abs((own > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(probe))
    assert abs(np.abs(own).mean() - 1.75 / 2) < 5 * 1.75 / np.sqrt(12 * len(probe))


def test_images_with_both_have_the_patch_at_full_strength() -> None:
    data = patches(shares=(0.0, 0.0, 1.0))
    z, v = patterns()
    rest = units(data, data.train.inputs)[(slice(None), *PLACE)] - z
    signs = np.sign((rest * v[data.train.labels]).sum((1, 2, 3)))
    assert np.abs(rest - signs[:, None, None, None] * v[data.train.labels]).max() < 1e-6


def test_no_linear_classifier_reads_the_patch() -> None:
    """At z one class k leads; of every other class one of z ± u·v is below k, so that at most (1 + 1/C)/2 are right."""
    data = patches(shares=(0.0, 1.0, 0.0), strength=1.0)  # strong, so that only the sign is in the way
    one = units(data, data.train.inputs)[(slice(None), *PLACE)].reshape(len(data.train), -1)
    z = patterns()[0].reshape(-1)
    x, labels = np.concatenate([one, 2 * z - one]), np.tile(data.train.labels, 2)

    def error(features: NDArray[np.float64]) -> float:
        with_one = np.column_stack([features, np.ones(len(features))])
        weights, *_ = np.linalg.lstsq(with_one, np.eye(10)[labels], rcond=None)
        return float(((with_one @ weights).argmax(1) != labels).mean())

    largest = np.bincount(labels).max() / len(labels)
    squares = np.einsum("ni,nj->nij", x - z, x - z).reshape(len(x), -1) / ((x - z) ** 2).sum(1)[:, None]
    assert error(x) >= 0.5 * (1 - largest)
    assert error(squares) < 0.05


def test_probes_are_the_clean_test_images_and_the_patch_alone() -> None:
    data, plain = patches(), load(DataSpec("digits"))
    assert list(data.probes) == ["clean", "patch"]
    assert data.fingerprint["clean"] == plain.fingerprint["test"]
    assert np.array_equal(data.split("patch").labels, plain.test.labels)
    small = load(DataSpec("patches:digits", train_size=100, label_noise=0.5, labels="random:1"))
    for name in ("clean", "patch", "test"):
        assert small.fingerprint[name] == data.fingerprint[name]
    assert small.normalization == data.normalization == plain.normalization
    assert patches().fingerprint == data.fingerprint
    other = patches(seed=1).fingerprint
    assert other["clean"] == data.fingerprint["clean"]
    assert all(other[name] != data.fingerprint[name] for name in ("train", "test", "patch"))
    with pytest.raises(DataError, match="digits has no part 'clean'"):
        plain.split("clean")


def test_byte_images_of_any_channels_and_the_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.datasets.dataset import make

    random = np.random.default_rng(0)

    def images(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10

    parts = images(40), images(20)
    monkeypatch.setattr("landscape_cli.datasets.digits.load", lambda argument: make("bytes", *parts))
    data = patches(position="corner", shares="0,0,1")
    changed = (data.train.inputs - parts[0][0] / np.float32(255)) != 0
    assert data.train.inputs.dtype == np.float32
    assert data.split("clean").inputs is parts[1][0]
    assert changed[:, :, :7, :7].all()
    assert not changed[:, :, 7:].any()
    assert not changed[:, :, :, 7:].any()


def test_a_path_behind_another_name_is_made_absolute_too() -> None:
    spec = DataSpec("patches:cifar10:data").absolute()
    assert spec.source.startswith("patches:cifar10:/")
    assert DataSpec("patches:digits").absolute().source == "patches:digits"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("patches", {}, "another data set"),
        ("patches:digitz", {}, "there is no data set 'digitz'"),
        ("patches:patches:digits", {}, "parts of its own"),
        ("patches:synthetic:sloppy", {}, "no images"),
        ("patches:digits", {"patch_size": 9}, "9×9 pixels does not fit"),
        ("patches:digits", {"patch_size": 0}, "does not fit"),
        ("patches:digits", {"patch_shares": "0.5,0.5"}, "three shares"),
        ("patches:digits", {"patch_shares": "0.5,0.6,-0.1"}, "three shares"),
        ("patches:digits", {"patch_sixe": "3"}, "no option 'patch_sixe'"),
        ("patches:digits", {"sise": "3"}, "data set 'digits' has no option 'sise'"),
        ("patches:digits", {"patch_strength": "-1"}, "not below zero"),
    ],
)
def test_what_does_not_fit_is_named(source: str, options: dict[str, object], message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        load(DataSpec(source, options))


def test_options_of_the_other_data_set_pass_through() -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        load(DataSpec("patches:cifar100:nowhere", {"labels": "coarse"}))
    assert "patches" in SOURCES
