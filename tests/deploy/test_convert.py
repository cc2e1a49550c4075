"""``megaseg convert``: state dicts as trainers leave them, and everything that must not become a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import random_checkpoint, small_config

torch = pytest.importorskip("torch")

from megaseg import load_checkpoint  # noqa: E402
from megaseg.deploy.convert import NamesError, convert_state_dict  # noqa: E402
from megaseg.errors import CheckpointError  # noqa: E402

CONFIG = small_config()


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(CONFIG.to_json())
    return path


def state_dict() -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in random_checkpoint(CONFIG).tensors.items()}


@pytest.mark.parametrize("wrapper", ["", "module.", "model.module.", "_orig_mod.module."])
@pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict"])
def test_state_dicts_of_the_usual_trainers(
    tmp_path: Path, config_file: Path, wrapper: str, container: str | None
) -> None:
    state: Any = {wrapper + name: tensor for name, tensor in state_dict().items()}
    torch.save({container: state, "epoch": 3} if container else state, tmp_path / "model.pt")
    convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file)
    written = load_checkpoint(tmp_path / "out.safetensors")
    assert written.config == CONFIG
    for name, tensor in state_dict().items():
        np.testing.assert_array_equal(written.tensors[name], tensor.numpy())


def test_own_prefix_and_half_precision_weights(tmp_path: Path, config_file: Path) -> None:
    state = {f"net2.{name}": tensor.bfloat16() for name, tensor in state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file, prefix="net2.", storage="F16")
    written = load_checkpoint(tmp_path / "out.safetensors").tensors["head.weight"]
    np.testing.assert_allclose(written, state["net2.head.weight"].float().numpy(), rtol=1e-3)


def test_names_that_do_not_fit_are_listed_and_nothing_is_written(tmp_path: Path, config_file: Path) -> None:
    state = state_dict()
    state["classifier.bias"] = state.pop("head.bias")
    state["head.weight"] = torch.zeros(2, 3)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(NamesError, match="1 tensors missing, 1 unexpected, 1 of another shape") as caught:
        convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file)
    assert ("head.bias", "(2,)", "missing") in caught.value.rows
    assert ("classifier.bias", "unexpected", "(2,) float32") in caught.value.rows
    assert ("head.weight", "(2, 48)", "(2, 3) float32") in caught.value.rows
    assert not (tmp_path / "out.safetensors").exists()


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_with_a_side_effect_leaves_none(tmp_path: Path, config_file: Path) -> None:
    torch.save({**state_dict(), "bomb": Bomb(tmp_path / "mark")}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt: expected a state dict that loads with weights_only=True"):
        convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file)
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04."])
def test_files_that_are_no_state_dict(tmp_path: Path, config_file: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file)


def test_a_list_is_no_state_dict(tmp_path: Path, config_file: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"expected a state dict \(name -> tensor\), got list"):
        convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", config_file)


@pytest.mark.parametrize("text", ["", "[]", '{"task": "scene"}'])
def test_a_config_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    torch.save(state_dict(), tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        convert_state_dict(tmp_path / "model.pt", tmp_path / "out.safetensors", tmp_path / "config.json")
