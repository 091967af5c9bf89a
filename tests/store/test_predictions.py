import errno
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from landscape_cli.errors import ConflictError, DataError, StorageError, UsageError
from landscape_cli.store import prediction_format
from landscape_cli.store.prediction_format import chunk_shape, load
from landscape_cli.store.prediction_writer import create_predictions, writing
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table
from tests.store.small_predictions import log_probs, models, what

BOUND = 2**-11 / np.e  # the largest |p·(exp(δ) − 1)| with |δ| ≤ 2⁻¹¹·|log p|, to first order


def write(path: Path, values: NDArray[Any], table: Table | None = None, **changes: Any) -> Predictions:
    settings = what(values.shape[1], values.shape[2], **changes)
    create_predictions(path, settings, models(len(values)) if table is None else table, values)
    return Predictions.open(path)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any selection of models and samples, from any chunk shape, type and compression, as numpy selects."""
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    values = log_probs(*shape)
    path = tmp_path_factory.mktemp("predictions") / "p.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_format, "CHUNK", data.draw(st.sampled_from([40, 100, 1 << 19])))
        with writing(
            path, what(*shape[1:], dtype=dtype), models(shape[0]),
            compression=data.draw(st.sampled_from(["none", "lzf", "gzip"])),
        ) as writer:  # fmt: skip
            for number in data.draw(st.permutations(writer.pending)):
                cut = data.draw(st.integers(1, shape[1]))
                writer.write(number, values[number, :cut])
                if cut < shape[1]:
                    writer.write(number, values[number, cut:], cut)
                writer.finish(number)
    predictions = Predictions.open(path)
    stored = values.astype(dtype)

    def selection(count: int) -> slice | NDArray[np.int64] | None:
        kinds = st.none() | st.slices(count) | st.lists(st.integers(-count, count - 1), max_size=6).map(
            lambda chosen: np.asarray(chosen, dtype=np.int64)
        )  # fmt: skip
        return data.draw(kinds)

    def taken(array: NDArray[Any], index: slice | NDArray[np.int64] | None) -> NDArray[Any]:
        return array if index is None else array[index]

    for view in (predictions, predictions.select(np.arange(shape[0])[::-1]).select_samples(np.arange(shape[1])[::-1])):
        rows, columns = selection(shape[0]), selection(shape[1])
        flipped = stored if view is predictions else stored[::-1, ::-1]
        found = view.read(rows, columns)
        assert found.dtype == dtype
        assert np.array_equal(found, taken(taken(flipped, rows).swapaxes(0, 1), columns).swapaxes(0, 1))
    assert (predictions.path, len(predictions), predictions.samples, predictions.classes) == (path, *shape)


def test_all_that_is_known_comes_back(tmp_path: Path) -> None:
    values = log_probs(3, 40, 5)
    found = write(tmp_path / "p.h5", values, sampling={"seed": 3})
    assert (found.split, found.data, found.fingerprint, found.dtype) == ("test", "digits", "f" * 32, "float32")
    assert found.labels.tolist() == (np.arange(40) % 5).tolist()
    assert found.sample_ids.tolist() == list(range(0, 80, 2))
    assert found.description["sampling"] == {"seed": 3}
    assert list(found.table.columns) == ["key", "name", "loss", "error", "lr", "opt"]
    loss = [-values[m, np.arange(40), found.labels].mean() for m in range(3)]
    error = [(values[m].argmax(1) != found.labels).mean() for m in range(3)]
    np.testing.assert_allclose(found.table.column("loss"), loss, rtol=1e-14)
    np.testing.assert_allclose(found.table.column("error"), error, rtol=1e-14)
    assert found.float16_error is None
    assert pickle.loads(pickle.dumps(found)).read().shape == (3, 40, 5)


def test_views_follow_their_models_and_samples(tmp_path: Path) -> None:
    values = log_probs(6, 40, 5)
    whole = write(tmp_path / "p.h5", values, dtype="float64")
    view = (
        whole.where("opt == 'b'").select_samples(np.array([7, 3, 9])).where("lr > 0.2").select_samples(np.array([2, 0]))
    )
    assert view.table.column("name").tolist() == ["runs/3@2ep", "runs/5@2ep"]
    assert view.sample_ids.tolist() == [18, 14]
    assert view.labels.tolist() == [4, 2]
    assert np.array_equal(view.read(), values[[3, 5]][:, [9, 7]])
    assert np.array_equal(view.read(np.array([1]), slice(1, None)), values[[5]][:, [7]])
    assert np.array_equal(view.read(np.array([False, True])), values[[5]][:, [9, 7]])
    assert view.read(np.array([], dtype=np.int64)).shape == (0, 2, 5)
    assert whole.where(None) is whole
    with pytest.raises(UsageError, match=r"no model of .* fulfils: lr > 7") as caught:
        whole.where("lr > 7")
    assert "opt" in (caught.value.hint or "")
    with pytest.raises(IndexError):
        whole.read(np.array([6]))


def test_identity_changes_with_models_order_samples_and_values(tmp_path: Path) -> None:
    values = log_probs(4, 40, 5)
    base = write(tmp_path / "a.h5", values)
    same = write(tmp_path / "b.h5", values)
    assert base.identity() == same.identity()
    others = [
        base.select(np.array([0, 1, 2])),
        base.select(np.array([1, 0, 2, 3])),
        base.select_samples(np.arange(39)),
        base.select_samples(np.arange(40)[::-1]),
        write(tmp_path / "c.h5", values, models(4, first=1)),
        write(tmp_path / "d.h5", values, split="train"),
        write(tmp_path / "e.h5", values, fingerprint="g"),
        write(tmp_path / "f.h5", values, dtype="float16"),
        write(tmp_path / "g.h5", values, labels=np.zeros(40, dtype=np.int64)),
    ]
    identities = [str(other.identity()) for other in [base, *others]]
    assert len(set(identities)) == len(identities)


def test_different_samples_are_told_apart(tmp_path: Path) -> None:
    values = log_probs(2, 40, 5)
    base = write(tmp_path / "a.h5", values)
    base.same_samples(write(tmp_path / "b.h5", log_probs(3, 40, 5, seed=1), dtype="float16"))
    cases: list[tuple[Predictions, str]] = [
        (base.select_samples(np.arange(39)), "40 samples and 39"),
        (write(tmp_path / "c.h5", log_probs(2, 40, 6)), "5 classes and 6"),
        (base.select_samples(np.roll(np.arange(40), 1)), "sample 0 is number 0 of its split in one and number 78"),
        (write(tmp_path / "d.h5", values, labels=np.arange(40)[::-1] % 5), "sample 0 has label 0 and 4"),
        (write(tmp_path / "e.h5", values, split="train"), "one is of the test split"),
    ]
    for other, message in cases:
        with pytest.raises(DataError, match=message):
            base.same_samples(other)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_float16_keeps_probabilities_within_its_bound(tmp_path: Path, scale: float) -> None:
    values = log_probs(3, 200, 10, scale=scale)
    values[0, 0] = [0, *[-1e6] * 9]  # below the range of the type
    values[0, 1] = [0, *[-np.inf] * 9]
    found = write(tmp_path / "p.h5", values, dtype="float16")
    read = found.read()
    assert read.dtype == np.float32
    np.testing.assert_allclose(np.exp(read.astype(np.float64)).sum(-1), 1, atol=1e-6)
    assert np.abs(np.exp(read.astype(np.float64)) - np.exp(values)).max() < 2 * BOUND  # rounding, then renormalising
    assert read[0, 0].min() == read[0, 1].min() == -65504
    told = found.float16_error
    assert told is not None
    with h5py.File(found.path) as file:
        raw = file["log_probs"][()].astype(np.float64)
        assert file["log_probs"].dtype == np.float16
        assert "1.8e-4" in file["rounding"].attrs["content"]
    kept = values >= -65504
    assert told["clipped"] == 18
    assert told["log_prob"] == pytest.approx(np.abs(raw - values, where=kept, out=np.zeros_like(raw)).max(), rel=1e-12)
    assert told["probability"] == pytest.approx(np.abs(np.exp(raw) - np.exp(values)).max(), rel=1e-12)
    assert told["probability"] <= BOUND * 1.001
    one = found.select(np.array([1])).float16_error
    assert one is not None
    assert one["clipped"] == 0


def test_the_same_models_make_the_same_bytes(tmp_path: Path) -> None:
    values = log_probs(4, 40, 5)
    write(tmp_path / "a.h5", values)
    time.sleep(1.1)  # HDF5 counts times in seconds
    write(tmp_path / "b.h5", values)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_an_unfinished_file_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    with writing(tmp_path / "p.h5", what(5000, 10), models(200)) as writer:
        status = (tmp_path / "p.h5").stat()
        assert status.st_size > 200 * 5000 * 10 * 4
        assert status.st_blocks * 512 < 1 << 20
        with pytest.raises(DataError, match="holds no finished model yet"):
            Predictions.open(tmp_path / "p.h5")
        assert len(writer.pending) == 200
    assert not (tmp_path / "p.h5").exists()  # nothing was written: nothing is left


def test_more_models_are_added_behind(tmp_path: Path) -> None:
    values = log_probs(7, 40, 5)
    path = tmp_path / "p.h5"
    write(path, values[:3])
    with writing(path, what(), models(7)) as writer:
        assert writer.pending == [3, 4, 5, 6]
        for number in (3, 5):
            writer.write(number, values[number])
            writer.finish(number)
    with writing(path, what(), Table.stacked([models(1), models(1, first=6)])) as writer:  # without 4
        assert writer.pending == [1]
        writer.write(1, values[6])
        writer.finish(1)
    found = Predictions.open(path)
    assert found.table.column("key").tolist() == ["k0", "k1", "k2", "k3", "k5", "k6"]
    assert np.array_equal(found.read(), values[[0, 1, 2, 3, 5, 6]].astype(np.float32))
    with h5py.File(path) as file:
        assert file["finished"][()].tolist() == [1] * 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.h5"]


def test_columns_of_a_persons_own_are_renewed_and_others_stay(tmp_path: Path) -> None:
    values = log_probs(2, 40, 5)
    path = tmp_path / "p.h5"
    loss = write(path, values).table.column("loss").tolist()
    newer = Table.from_rows([{"key": "k1", "name": "other", "lr": 9.0, "tag": "new"}])
    with writing(path, what(), newer, own=["tag"]) as writer:
        assert writer.pending == []
    assert Predictions.open(path).table.rows()[1] == {
        "key": "k1", "name": "runs/1@2ep", "loss": loss[1], "error": pytest.approx(0.8, abs=0.2), "lr": 0.1, "opt": "b",
        "tag": "new",
    }  # fmt: skip
    inode = path.stat().st_ino
    with writing(path, what(), newer, own=["tag"]):
        pass
    assert path.stat().st_ino == inode  # nothing changed: the file was not rewritten
    assert np.array_equal(Predictions.open(path).read(), values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_compression_is_a_rewrite_that_appending_undoes_and_redoes(tmp_path: Path, dtype: str) -> None:
    values = log_probs(6, 400, 10)
    path = tmp_path / "p.h5"
    plain = write(path, values[:4], dtype=dtype).read()
    size = path.stat().st_size
    settings = what(400, 10, dtype=dtype)
    for compression in ("gzip", "lzf", "none", "gzip"):
        with writing(path, settings, models(4), compression=compression) as writer:  # type: ignore[arg-type]
            assert writer.pending == []
        assert load(path).compression == compression
        assert np.array_equal(Predictions.open(path).read(), plain)
        assert (path.stat().st_size < size) == (compression != "none")
    create_predictions(path, settings, models(6), values)
    found = Predictions.open(path)
    assert load(path).compression == "gzip"
    assert np.array_equal(found.read(slice(4)), plain)
    assert np.array_equal(found.read(np.array([5]), np.array([3, 1])), found.read()[[5]][:, [3, 1]])
    with h5py.File(path) as file:
        assert file["log_probs"].shuffle


def test_a_file_packed_by_another_tool_is_read_and_extended(tmp_path: Path) -> None:
    values = log_probs(4, 40, 5)
    path = tmp_path / "p.h5"
    write(path, values)
    with h5py.File(path) as old, h5py.File(tmp_path / "new.h5", "w") as new:
        for name in old:
            if name == "log_probs":
                new.create_dataset(name, data=old[name][()], chunks=(3, 7, 2))
            else:
                old.copy(name, new)
        new.attrs.update(old.attrs)
    (tmp_path / "new.h5").replace(path)
    assert load(path).placement is None
    assert np.array_equal(Predictions.open(path).read(), values.astype(np.float32))
    create_predictions(path, what(), models(5), log_probs(5, 40, 5))
    assert load(path).placement is not None
    assert np.array_equal(Predictions.open(path).read(slice(4)), values.astype(np.float32))


def test_chunks_are_whole_models_or_blocks_of_one() -> None:
    assert chunk_shape(10, 1000, 10, 4) == (10, 1000, 10)
    assert chunk_shape(10_000, 1000, 10, 4) == (13, 1000, 10)
    assert chunk_shape(10_000, 50_000, 10, 4) == (1, 12_500, 10)
    assert chunk_shape(10_000, 50_000, 1000, 2)[0] == 1
    for shape in ((7, 355, 10, 4), (3, 10_001, 1000, 2)):
        chunks = chunk_shape(*shape)
        assert np.prod(chunks) * shape[3] <= prediction_format.CHUNK + shape[2] * shape[3]


def writer_code(path: Path, tail: str) -> str:
    return textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        import numpy as np
        from landscape_cli.store import prediction_writer
        from landscape_cli.store.prediction_writer import writing
        from tests.store.small_predictions import log_probs, models, what
        prediction_writer.COMMIT_SECONDS = 0
        path, values = Path({str(path)!r}), log_probs(6, 40, 5)
    """) + textwrap.dedent(tail)


SLOW = """
    with writing(path, what(), models(6)) as writer:
        for number in writer.pending:
            writer.write(number, values[number, :20])
            if number == 3:
                print("busy", flush=True)
                time.sleep(60)
            writer.write(number, values[number, 20:], 20)
            writer.finish(number)
"""


def killed(code: str) -> None:
    """Run the code until it says that it is busy, and kill it there."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == b"busy\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_killed_in_the_middle_and_continued(tmp_path: Path) -> None:
    values = log_probs(6, 40, 5)
    path = tmp_path / "p.h5"
    killed(writer_code(path, SLOW))
    found = Predictions.open(path)
    assert found.table.column("key").tolist() == ["k0", "k1", "k2"]
    assert np.array_equal(found.read(), values[:3].astype(np.float32))
    with writing(path, what(), models(6)) as writer:
        assert writer.pending == [3, 4, 5]
        for number in writer.pending:
            writer.write(number, values[number])
            writer.finish(number)
    write(tmp_path / "whole.h5", values)
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.h5", "whole.h5"]


def test_killed_while_the_file_is_extended(tmp_path: Path) -> None:
    """The old file is whole until the new one is; what the killed process left is cleared away."""
    path = tmp_path / "p.h5"
    before = write(path, log_probs(6, 40, 5)[:3]).read()
    killed(
        writer_code(
            path,
            """
            from landscape_cli.store import prediction_growth
            def hang(*arguments):
                print("busy", flush=True)
                time.sleep(60)
            prediction_growth._copy = hang
            with writing(path, what(), models(6)):
                pass
            """,
        )
    )
    assert np.array_equal(Predictions.open(path).read(), before)
    assert any(p.name.startswith(".partial-") for p in tmp_path.iterdir())
    create_predictions(path, what(), models(6), log_probs(6, 40, 5))
    assert len(Predictions.open(path)) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["p.h5"]


def test_a_reader_sees_finished_models_while_others_are_written(tmp_path: Path) -> None:
    values = log_probs(3, 40, 5)
    with writing(tmp_path / "p.h5", what(), models(3)) as writer:
        writer.write(1, values[1])
        writer.finish(1)
        writer.commit()
        writer.write(0, values[0, :10])
        found = Predictions.open(tmp_path / "p.h5")
        assert found.table.column("key").tolist() == ["k1"]
        assert np.array_equal(found.read(), values[[1]].astype(np.float32))


def test_one_writer_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", writer_code(path, SLOW)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(ConflictError, match=f"is being written by process {process.pid}"):
        create_predictions(path, what(), models(6), log_probs(6, 40, 5))
    write(tmp_path / "other.h5", log_probs(2, 40, 5))  # another file in the same folder is no conflict
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            create_predictions(path, what(), models(6), log_probs(6, 40, 5))
            break
        except ConflictError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(Predictions.open(path)) == 6


def test_a_disk_that_fills_keeps_finished_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, path, real = log_probs(4, 40, 5), tmp_path / "p.h5", os.pwrite
    with writing(path, what(), models(4)) as writer:
        offset = load(path).placement
        assert offset is not None

        def full(descriptor: int, data: Any, at: int) -> int:
            if at >= offset.offset(2):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data, at)

        monkeypatch.setattr(os, "pwrite", full)
        for number in (0, 1):
            writer.write(number, values[number])
            writer.finish(number)
        with pytest.raises(StorageError, match=r"p\.h5: could not be written: No space left") as caught:
            writer.write(2, values[2])
        assert "finished work is kept" in (caught.value.hint or "")
    monkeypatch.undo()
    assert np.array_equal(Predictions.open(path).read(), values[:2].astype(np.float32))
    create_predictions(path, what(), models(4), values)
    assert np.array_equal(Predictions.open(path).read(), values.astype(np.float32))


@pytest.mark.parametrize("task", ["write", "create", "append", "compress"])
def test_the_system_refuses_to_write_more(tmp_path: Path, task: str) -> None:
    """A real failure inside the real writers, HDF5's own included: a stated error, and the file as it was."""
    path = tmp_path / "p.h5"
    values = log_probs(6, 40, 5)
    if task != "create":
        write(path, values[:3])
    limit = {"write": "load(path).placement.offset(4)", "create": "2000", "append": "9000", "compress": "3000"}[task]
    tail = {
        "write": "with writing(path, what(), models(6)) as writer:\n    limit()\n    go(writer)",
        "create": "limit()\nwith writing(path, what(), models(6)) as writer:\n    go(writer)",
        "append": "limit()\nwith writing(path, what(), models(6)) as writer:\n    go(writer)",
        "compress": "limit()\nwith writing(path, what(), models(3), compression='gzip') as writer:\n    go(writer)",
    }[task]
    code = f"""
import resource
from landscape_cli.errors import StorageError
from landscape_cli.store.prediction_format import load
def limit():
    size = {limit}
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
def go(writer):
    for number in writer.pending:
        writer.write(number, values[number])
        writer.finish(number)
try:
{textwrap.indent(tail, "    ")}
except StorageError as error:
    print(error.message)
    print(error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", writer_code(path, "") + code],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "p.h5: could not be written: File too large" in done.stdout
    assert "free some space" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ([] if task == "create" else ["p.h5"])
    if task != "create":
        kept = 4 if task == "write" else 3
        assert np.array_equal(Predictions.open(path).read(), values[:kept].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "train"}, "split is 'test' there, 'train' was asked for"),
        ({"dtype": "float16"}, "dtype is 'float32' there, 'float16' was asked for"),
        ({"precision": "bf16"}, "precision is '' there, 'bf16' was asked for"),
        ({"classes": 6}, "classes is 5 there, 6 was asked for"),
        ({"fingerprint": "x", "data": "cifar10"}, r"its data \(digits\) is not the data asked for \(cifar10\)"),
        ({"samples": 39}, "40 samples are there, 39 were asked for"),
        ({"sample_ids": np.arange(40)}, "number 2 of the split is there, number 1 was asked for"),
        ({"labels": np.ones(40, dtype=np.int64)}, "the label of sample 0 is another"),
    ],
)
def test_other_predictions_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "p.h5"
    write(path, log_probs(2, 40, 5))
    other = what(changes.pop("samples", 40), **changes)
    with pytest.raises(ConflictError, match=message) as caught:
        create_predictions(path, other, models(2), [])
    assert "--force" in (caught.value.hint or "")
    values = log_probs(1, len(other.labels), other.classes)
    create_predictions(path, other, models(1), values, force=True)
    assert len(Predictions.open(path)) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v.__setitem__((3, 2), np.nan), r"runs/0@2ep: its prediction for sample 6 is NaN"),
        (lambda v: v.__setitem__((3, 2), np.inf), "NaN or infinite"),
    ],
)
def test_what_is_no_prediction_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    values = log_probs(2, 40, 5)
    with writing(tmp_path / "p.h5", what(), models(2)) as writer:
        spoiled = values[0].copy()
        spoil(spoiled)
        with pytest.raises(DataError, match=message):
            writer.write(0, spoiled)
        with pytest.raises(DataError, match=r"shape \(40, 4\) at sample 0 do not fit 40 samples of 5 classes"):
            writer.write(1, values[1, :, :4])
        writer.write(1, values[1, :30])
        with pytest.raises(DataError, match="at sample 31"):
            writer.write(1, values[1, 31:], 31)
        with pytest.raises(DataError, match="30 of 40 samples were written"):
            writer.finish(1)
        writer.write(1, values[1])
        writer.finish(1)
    assert Predictions.open(tmp_path / "p.h5").table.column("key").tolist() == ["k1"]


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same key"):
        create_predictions(tmp_path / "p.h5", what(), Table.stacked([models(1), models(1)]), [])


def damaged(path: Path, how: str) -> None:
    if how == "no HDF5":
        path.write_text("hello")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "missing":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        with h5py.File(path, "r+") as file:
            if how == "kind":
                file.attrs["kind"] = "distances"
            elif how == "no kind":
                del file.attrs["kind"]
            elif how == "schema":
                file.attrs["schema"] = 99
            elif how == "description":
                file.attrs["description"] = "{"
            elif how == "unfinished":
                file["finished"][...] = 0
            else:
                del file[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no HDF5", "is no HDF5 file, or is damaged"),
        ("cut", "is no HDF5 file, or is damaged"),
        ("missing", "does not exist"),
        ("folder", "is no file"),
        ("kind", "holds 'distances', not predictions"),
        ("no kind", "is no file of predictions of this toolkit"),
        ("schema", r"was written by a newer landscape \(schema 99"),
        ("unfinished", "holds no finished model yet"),
        ("description", "is damaged"),
        ("log_probs", "is damaged"),
        ("labels", "is damaged"),
        ("models/key", "is damaged"),
    ],
)
def test_what_is_no_predictions_file_is_told(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "p.h5"
    write(path, log_probs(2, 40, 5))
    damaged(path, how)
    with pytest.raises(DataError, match=message) as caught:
        Predictions.open(path)
    assert "p.h5" in caught.value.message


def test_a_file_that_changes_under_a_reader_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    found = write(path, log_probs(2, 40, 5))
    create_predictions(path, what(), models(3), log_probs(3, 40, 5))
    with pytest.raises(StorageError, match="was replaced while it was read"):
        found.read()
    os.truncate(path, 3000)
    again = Predictions.open
    with pytest.raises(DataError):
        again(path)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        found.read()


def test_dimension_scales_name_every_axis(tmp_path: Path) -> None:
    write(tmp_path / "p.h5", log_probs(2, 40, 5), dtype="float16")

    def scales(item: h5py.Dataset) -> Sequence[str]:
        return [dim[0].name for dim in item.dims]

    with h5py.File(tmp_path / "p.h5") as file:
        assert scales(file["log_probs"]) == ["/model", "/sample", "/class"]
        assert scales(file["labels"]) == scales(file["sample_ids"]) == ["/sample"]
        assert scales(file["finished"]) == scales(file["models/lr"]) == scales(file["models/opt"]) == ["/model"]
        assert scales(file["rounding"]) == ["/model", "/quantity"]
        assert file["model"].asstr()[()].tolist() == ["runs/0@2ep", "runs/1@2ep"]
        assert file["sample"][()].tolist() == list(range(0, 80, 2))
        assert file["class"][()].tolist() == [0, 1, 2, 3, 4]
