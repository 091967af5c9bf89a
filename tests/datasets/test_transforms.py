import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.datasets import DataSpec, Split, load
from landscape_cli.datasets.transforms import balanced_index, flip_labels, replace_labels
from landscape_cli.errors import DataError, UsageError


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


@pytest.mark.parametrize("labels", ["Random:1", "random", "random:-1", "permuted:x", ""])
def test_unknown_labels_are_refused(labels: str) -> None:
    with pytest.raises(UsageError, match="there are no labels"):
        DataSpec("digits", labels=labels)


@pytest.mark.parametrize(("classes", "seed"), [(2, 0), (3, 1), (5, 2), (10, 3)])
def test_random_labels_are_uniform_and_independent_of_the_true_ones(classes: int, seed: int) -> None:
    """Each cell of the table true × new holds n/C² samples, to five standard deviations of a binomial."""
    count = 20_000
    true = np.repeat([0, 1], count // 2)  # far from uniform, so that a permutation would show
    part = Split(np.zeros((count, 1), np.float32), true)
    new = replace_labels(part, f"random:{seed}", classes).labels
    for old in (0, 1):
        found = np.bincount(new[true == old], minlength=classes)
        mean, share = count / 2 / classes, 1 / classes
        assert (np.abs(found - mean) < 5 * np.sqrt(mean * (1 - share))).all()
    assert new.dtype == np.int64
    assert np.array_equal(new, replace_labels(part, f"random:{seed}", classes).labels)
    assert not np.array_equal(new, replace_labels(part, f"random:{seed + 1}", classes).labels)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5))
def test_permuted_labels_keep_their_counts_and_inputs(labels: list[int], seed: int) -> None:
    part = Split(np.arange(len(labels), dtype=np.float32)[:, None], np.array(labels))
    new = replace_labels(part, f"permuted:{seed}", 4)
    assert np.array_equal(np.bincount(new.labels, minlength=4), np.bincount(part.labels, minlength=4))
    assert new.inputs is part.inputs
    assert replace_labels(part, "true", 4) is part


def test_subset_then_labels_then_noise() -> None:
    """The subset is balanced in the true labels; the noise changes exactly its share of the random ones."""
    plain, subset = load(DataSpec("digits")), load(DataSpec("digits", train_size=200, seed=5))
    drawn = load(DataSpec("digits", train_size=200, seed=5, labels="random:2"))
    noisy = load(DataSpec("digits", train_size=200, seed=5, labels="random:2", label_noise=0.1))
    assert np.array_equal(drawn.train.inputs, subset.train.inputs)
    assert 0.05 < (drawn.train.labels == subset.train.labels).mean() < 0.2
    assert (noisy.train.labels != drawn.train.labels).sum() == 20
    assert {data.fingerprint["test"] for data in (plain, subset, drawn, noisy)} == {plain.fingerprint["test"]}
    assert len({data.fingerprint["train"] for data in (plain, subset, drawn, noisy)}) == 4


def test_a_spec_without_labels_is_the_spec_of_older_runs() -> None:
    older = {"source": "digits", "options": {}, "train_size": None, "label_noise": 0.0, "seed": 0}
    assert DataSpec("digits").to_json() == older
    assert DataSpec.from_json(older) == DataSpec("digits")
    spec = DataSpec("digits", labels="permuted:4")
    assert DataSpec.from_json(spec.to_json()) == spec
