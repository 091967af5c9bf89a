import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.datasets import DataSpec, Split, load
from landscape_cli.datasets.transforms import balanced_index, flip_labels
from landscape_cli.errors import DataError


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_subsets_keep_the_proportions(labels: list[int], data: st.DataObject) -> None:
    array = np.array(labels)
    size = data.draw(st.integers(1, len(labels)))
    chosen = balanced_index(array, size, 4, seed=data.draw(st.integers(0, 5)))
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    share = np.bincount(array, minlength=4) * size / len(array)
    assert (np.abs(np.bincount(array[chosen], minlength=4) - share) < 1).all()


@given(st.integers(1, 80), st.floats(0, 1), st.integers(2, 6), st.integers(0, 3))
def test_label_noise_changes_exactly_that_many(count: int, share: float, classes: int, seed: int) -> None:
    labels = np.arange(count) % classes
    noisy = flip_labels(Split(np.zeros((count, 1), np.float32), labels), share, classes, seed).labels
    assert (noisy != labels).sum() == round(share * count)
    assert noisy.min() >= 0
    assert noisy.max() < classes


def test_specs_apply_them_to_the_training_part_only() -> None:
    plain = load(DataSpec("digits"))
    changed = load(DataSpec("digits", train_size=100, label_noise=0.25, seed=3))
    assert len(changed.train) == 100
    assert changed.fingerprint["test"] == plain.fingerprint["test"]
    assert changed.fingerprint == load(DataSpec("digits", train_size=100, label_noise=0.25, seed=3)).fingerprint
    assert changed.fingerprint != load(DataSpec("digits", train_size=100, label_noise=0.25, seed=4)).fingerprint
    with pytest.raises(DataError, match="subset of 5000"):
        load(DataSpec("digits", train_size=5000))


@pytest.mark.parametrize("labels", [[-1, 0], [0, 7], [0, 1, 2]])
def test_labels_that_do_not_fit_are_refused(labels: list[int]) -> None:
    from landscape_cli.datasets import DataSet

    part = Split(np.zeros((2, 3), np.float32), np.array(labels))
    with pytest.raises(DataError):
        DataSet("x", part, part, classes=3)
