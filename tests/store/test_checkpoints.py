import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from landscape_cli.errors import CheckpointError
from landscape_cli.store.checkpoints import (
    Checkpoint,
    content_hash,
    first_non_finite,
    read_header,
    read_tensors,
    tensors_hash,
    write_tensors,
)

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.count": torch.tensor(3),
    "b": torch.ones(2, 2, 2, 2).to(memory_format=torch.channels_last),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "empty": torch.empty(0, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 7, "epoch": 0.5})
    return path


def test_what_is_written_is_read_back(file: Path) -> None:
    found = read_tensors([file])
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_the_header_tells_everything_but_the_numbers(file: Path) -> None:
    header = read_header(file)
    assert header.tensors["a.weight"].shape == (2, 3)
    assert header.tensors["a.weight"].dtype == "F32"
    assert header.tensors["half"].dtype == "BF16"
    assert header.landscape["step"] == 7
    assert list(header.metadata) == ["landscape"]
    assert header.metadata["landscape"] == json.dumps(header.landscape, sort_keys=True)


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path in paths:
        write_tensors(path, dict(reversed(TENSORS.items())) if path is paths[1] else TENSORS, {"step": 1})
    assert len({path.read_bytes() for path in paths}) == 1


def test_the_hash_is_of_the_tensors_alone(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({name: t.contiguous() for name, t in TENSORS.items()}, other, metadata={"who": "else"})
    assert content_hash([file]) == content_hash([other]) == tensors_hash(TENSORS)
    assert read_header(file).landscape["hash"] == content_hash([file])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"a.count": torch.tensor(4)},
        lambda t: {("a.renamed" if k == "a.count" else k): v for k, v in t.items()},
        lambda t: t | {"a.weight": t["a.weight"].reshape(3, 2)},
        lambda t: t | {"a.weight": t["a.weight"].double()},
        lambda t: t | {"more": torch.zeros(1)},
    ],
)
def test_any_change_changes_the_hash(change) -> None:
    assert tensors_hash(change(dict(TENSORS))) != tensors_hash(TENSORS)


def test_shards_hash_like_the_whole(tmp_path: Path) -> None:
    names = list(TENSORS)
    for number, part in enumerate((names[:2], names[2:])):
        save_file({n: TENSORS[n].contiguous() for n in part}, tmp_path / f"{number}.safetensors")
    assert content_hash([tmp_path / "1.safetensors", tmp_path / "0.safetensors"]) == tensors_hash(TENSORS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"),
        st.lists(st.floats(width=32, allow_nan=False), max_size=5),
        max_size=4,
    )
)
def test_round_trip_of_any_names_and_numbers(tmp_path: Path, content: dict[str, list[float]]) -> None:
    tensors = {name: torch.tensor(values, dtype=torch.float32) for name, values in content.items()}
    path = tmp_path / "any.safetensors"
    digest = write_tensors(path, tensors, {})
    found = load_file(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert content_hash([path]) == digest == tensors_hash(tensors)


def test_shared_tensors_are_stored_under_both_names(tmp_path: Path) -> None:
    tied = torch.randn(3, 3)
    write_tensors(tmp_path / "t.safetensors", {"one": tied, "two": tied, "row": tied[0]}, {})
    found = read_tensors([tmp_path / "t.safetensors"])
    assert torch.equal(found["one"], found["two"])
    assert torch.equal(found["row"], tied[0])


@pytest.mark.parametrize("keep", [0, 4, 8, 20, -1, -5])
def test_a_truncated_file_is_named(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"x\.safetensors is damaged"):
        read_header(file)
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors([file])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 64,
        b"not safetensors at all, just some text that is long enough",
        struct.pack("<Q", 4) + b"[1,]" + b"\0" * 8,
        struct.pack("<Q", 2) + b"{}" + b"extra",
        struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}     ' + b"\0" * 4,
    ],
)
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors is damaged"):
        read_header(path)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    write_tensors(path, {"fine": torch.ones(2), "layer.weight": torch.tensor([1.0, float("nan")])}, {})
    with pytest.raises(CheckpointError, match=r"'layer\.weight' holds NaN"):
        Checkpoint(path, (path,)).tensors()
    assert first_non_finite({"a": torch.tensor([float("inf")])}) == "a"
    assert first_non_finite({"a": torch.tensor([1, 2])}) is None
