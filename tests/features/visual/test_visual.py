"""Colour, motion and EfficientNet of pictures whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from small_frames import flat, join, measured, still

from megaseg.features.video.registry import DEFAULTS, EXTRACTORS
from megaseg.features.visual.colour import ColourMeasure
from megaseg.features.visual.efficientnet import EfficientNetMeasure
from megaseg.features.visual.motion import MotionMeasure

pytest.importorskip("onnxruntime")

# Mean and strongest values by their place, of the model in torch with its float32 weights.
TORCH = [
    (0.07432, {897: 5.062, 113: 3.896, 468: 3.114, 755: 2.959, 226: 2.808}),
    (0.08053, {113: 4.423, 989: 3.481, 879: 3.364, 900: 3.044, 897: 2.827}),
]


def picture(*rgb: int) -> np.ndarray:
    return np.full((1, 224, 224, 3), rgb, np.uint8)


def test_colour_tells_hue_and_place() -> None:
    measure = ColourMeasure()
    red, dark_red, blue = (measure.measure(picture(*rgb))[0] for rgb in ((255, 0, 0), (120, 0, 0), (0, 0, 255)))
    for values in (red, dark_red, blue):
        assert np.count_nonzero(values[:256]) == 1
        assert values[:256].sum() == 1
    assert (red[:256].argmax() // 16, blue[:256].argmax() // 16) == (0, 10)
    left_red = np.concatenate([picture(255, 0, 0)[:, :, :112], picture(0, 0, 255)[:, :, 112:]], 2)
    mixed = measure.measure(left_red)[0]
    np.testing.assert_allclose(mixed[:256] @ red[:256], 0.5**0.5, rtol=1e-6)
    layout = mixed[256:].reshape(7, 7, 3)
    assert layout[0, 0, 0] > 0
    assert layout[0, 0, 2] == 0
    assert layout[6, 6, 0] == 0
    np.testing.assert_allclose(np.linalg.norm(measure.measure(picture(255, 255, 255))[0, 256:]), 1, rtol=1e-6)


def test_grey_has_no_hue() -> None:
    values = ColourMeasure().measure(np.concatenate([picture(g, g, g) for g in (0, 100, 255)]))
    assert values[:, :256].argmax(1).tolist() == [0, 1, 3]


def test_motion_says_where_and_how_much() -> None:
    frames = still(1, 4)
    frames.luma[2:, :36, :64] += 20
    values = measured(MotionMeasure(), frames)
    assert values.shape == (4, MotionMeasure.width)
    np.testing.assert_allclose(values[2, 1:10] * 255, [20, *[0] * 8], rtol=1e-6)
    np.testing.assert_allclose(values[2, 0] * 255, 20 / 9, rtol=1e-6)
    assert not values[[0, 1, 3], :10].any()
    np.testing.assert_allclose(values[2, 10:19].mean(), frames.luma[2].mean() / 255, rtol=1e-5)


def test_brightness_and_colour_of_a_flat_frame() -> None:
    frames = join(flat(51, 2))
    frames.chroma[:, 0] = 192
    values = measured(MotionMeasure(), frames)[0]
    np.testing.assert_allclose(values[10:], [*[0.2] * 9, 0, 192 / 255, 128 / 255, 0.25], rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_efficientnet_gives_the_values_of_the_torch_model(count: int) -> None:
    rows, columns = np.mgrid[:224, :224]
    pictures = np.stack([np.stack([rows, columns, (rows * (i + 1)) % 256], -1) for i in range(9)]).astype(np.uint8)
    values = EfficientNetMeasure(num_threads=1).measure(pictures[:count])
    assert values.shape == (count, 1280)
    if count == 9:
        for row, (mean, strongest) in zip(values[[0, 8]], TORCH, strict=True):
            np.testing.assert_allclose(row.mean(), mean, rtol=0.005)
            np.testing.assert_allclose(row[list(strongest)], list(strongest.values()), rtol=0.02)


@pytest.mark.parametrize("name", DEFAULTS)
def test_extractors_are_what_their_table_says(name: str) -> None:
    feature = EXTRACTORS[name]
    measure = feature.spec(num_threads=1, folder="x").make()
    assert type(measure) is feature.measure
    assert (measure.name, measure.width) == (name, feature.width)
    assert hasattr(measure, "context") == (feature.kind == "frames")


def test_no_pictures_give_no_rows() -> None:
    none = np.empty((0, 224, 224, 3), np.uint8)
    for name in ("colour", "efficientnet"):
        extractor = EXTRACTORS[name]
        assert extractor.spec().make().measure(none).shape == (0, extractor.measure.width)
