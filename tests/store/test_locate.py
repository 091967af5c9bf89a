import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.store.locate import checkpoints_of, locate

WEIGHTS = {"w": torch.ones(2), "b": torch.zeros(1)}


def save(path: Path, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors or WEIGHTS, path)
    return path


def test_one_file(tmp_path: Path) -> None:
    file = save(tmp_path / "model-400.safetensors")
    found = locate(str(file))
    assert (found.path, found.step, found.run, found.label) == (file, 400, None, str(file))
    with pytest.raises(UsageError, match="one checkpoint"):
        locate(f"{file}@step:400")


def test_a_folder_of_files_in_order_of_their_steps(tmp_path: Path) -> None:
    for step in (1000, 20, 100):
        save(tmp_path / f"step_{step}.safetensors")
    assert [c.step for c in checkpoints_of(tmp_path)] == [20, 100, 1000]
    assert locate(str(tmp_path)).step == 1000
    assert locate(f"{tmp_path}@step:100").step == 100
    with pytest.raises(CheckpointError, match="no checkpoint at step 7"):
        locate(f"{tmp_path}@step:7")
    with pytest.raises(UsageError, match="epochs are unknown"):
        locate(f"{tmp_path}@1ep")


def test_hugging_face_folders(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-1000" / "model.safetensors")
    save(tmp_path / "checkpoint-500" / "model.safetensors")
    assert [c.step for c in checkpoints_of(tmp_path)] == [500, 1000]
    assert locate(str(tmp_path / "checkpoint-500")).path == tmp_path / "checkpoint-500"


def test_shards(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-9"
    save(folder / "model-00001-of-00002.safetensors", {"w": WEIGHTS["w"]})
    save(folder / "model-00002-of-00002.safetensors", {"b": WEIGHTS["b"]})
    index = {"weight_map": {"w": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for path in (folder, folder / "model.safetensors.index.json"):
        assert locate(str(path)).tensors().keys() == WEIGHTS.keys()
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"names the shard model-00002-of-00002\.safetensors, which is missing"):
        locate(str(folder))
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="names no shards"):
        locate(str(folder))


def test_a_shard_outside_its_folder_is_not_followed(tmp_path: Path) -> None:
    save(tmp_path / "secret.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="missing"):
        locate(str(folder))


def test_runs_and_their_times(parent: Path) -> None:
    assert locate(str(parent)).step == 12
    assert locate(f"{parent}@1ep").step == 4
    assert locate(f"{parent}@1ep").label == f"{parent}@1ep"
    assert locate(str(parent)).label == str(parent)
    inside = locate(str(parent / "checkpoints" / "step-00000004.safetensors"))
    assert (inside.run, inside.step, inside.epoch) == (parent, 4, 1.0)


def test_a_path_with_an_at_sign_is_a_path(tmp_path: Path) -> None:
    file = save(tmp_path / "mail@2ep.safetensors")
    assert locate(str(file)).path == file


def test_what_is_nothing_is_named(tmp_path: Path, parent: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        locate(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="'soon' is no time"):
        locate(f"{parent}@soon")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        locate(str(tmp_path / "empty"))
    with pytest.raises(CheckpointError, match="is no run directory") as caught:
        locate(str(tmp_path))  # a folder that holds a run
    assert "folder of runs" in (caught.value.hint or "")
    pickle = tmp_path / "x.pt"
    pickle.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a pickle") as caught:
        locate(str(pickle))
    assert "landscape import" in (caught.value.hint or "")
