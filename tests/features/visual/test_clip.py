"""CLIP from a folder: tiny models of random weights, by torch and by ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from megaseg.errors import UnsupportedError
from megaseg.features.video.registry import video_extractor
from megaseg.features.visual.clip import MEAN, STD, ClipMeasure
from megaseg.media.measures import MeasureSpec

PICTURES = np.random.default_rng(0).integers(0, 256, (9, 224, 224, 3), np.uint8)


def pixels(pictures: np.ndarray) -> np.ndarray:
    return ((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    """A tower whose vectors are the mean red, green and blue."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["pixel_values"], ["image_embeds"], axes=[2, 3], keepdims=0)],
        "tower",
        [helper.make_tensor_value_info("pixel_values", float32, ["k", 3, 224, 224])],
        [helper.make_tensor_value_info("image_embeds", float32, ["k", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "vision_model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "config.json").write_text(json.dumps({"projection_dim": 3, "vision_config": {"image_size": 224}}))
    return tmp_path


def test_onnx_tower(onnx_folder: Path) -> None:
    measure = ClipMeasure(str(onnx_folder), num_threads=1)
    assert measure.width == 3
    np.testing.assert_allclose(measure.measure(PICTURES), pixels(PICTURES).mean((2, 3)), atol=1e-5)
    assert measure.measure(PICTURES[:0]).shape == (0, 3)


def test_it_is_an_extractor_that_goes_to_a_child_process(onnx_folder: Path) -> None:
    spec = video_extractor("clip").spec(folder=str(onnx_folder), num_threads=1)
    measure = MeasureSpec(spec.factory, json.loads(json.dumps(spec.options))).make()
    assert measure.identity == ClipMeasure(str(onnx_folder)).identity
    assert measure.measure(PICTURES[:1]).shape == (1, 3)


def test_other_means_are_another_identity(onnx_folder: Path) -> None:
    before = ClipMeasure(str(onnx_folder))
    plain = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    (onnx_folder / "preprocessor_config.json").write_text(json.dumps(plain))
    after = ClipMeasure(str(onnx_folder))
    assert after.identity != before.identity
    np.testing.assert_allclose(after.measure(PICTURES[:1])[0], PICTURES[0].mean((0, 1)) / 255, atol=1e-5)


def test_torch_tower(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=8,
        patch_size=56,
    )
    torch.manual_seed(0)
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    model.save_pretrained(tmp_path)
    measure = ClipMeasure(str(tmp_path))
    with torch.inference_mode():
        expected = model(pixel_values=torch.from_numpy(pixels(PICTURES[:2]))).image_embeds.numpy()
    np.testing.assert_allclose(measure.measure(PICTURES[:2]), expected, atol=1e-5)
    assert measure.width == 8


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "expected a CLIP's config"),
        ({"config.json": "{"}, "config.json"),
        ({"config.json": "[]"}, "expected a JSON object"),
        ({"config.json": "{}"}, "expected vision_model.onnx or model.safetensors"),
        (
            {"config.json": '{"vision_config": {"image_size": 336}}'},
            "expected a CLIP of pictures of 224 x 224, got 336",
        ),
    ],
)
def test_folders_without_a_usable_clip(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UnsupportedError, match=reason):
        ClipMeasure(str(tmp_path))
