"""``clip``: what a picture shows, by a CLIP of the user's own in a folder, as ONNX or by torch (extra ``clip``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError
from megaseg.media.measures import PICTURE
from megaseg.media.onnx_session import OnnxNetwork

BATCH = 8  # pictures at once
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's CLIP
ONNX = ("vision_model.onnx", "onnx/vision_model.onnx", "model.onnx")

Pictures = NDArray[np.uint8]
Tower = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ClipMeasure:
    """Projected vectors of the vision tower in a folder as Hugging Face lays them out.

    The folder has ``config.json`` and either ``vision_model.onnx``, which ONNX Runtime runs, or ``model.safetensors``,
    which transformers and torch run. ``preprocessor_config.json`` may give other means and deviations than CLIP's own.

    Raises:
        UnsupportedError: no such folder, no CLIP in it, or one of pictures of another size than 224 x 224.
    """

    name = "clip"

    def __init__(self, folder: str, *, num_threads: int = 0) -> None:
        self._folder, self._num_threads = Path(folder), num_threads
        config = _json(self._folder / "config.json")
        vision = config.get("vision_config", config)
        size = vision.get("image_size", PICTURE)
        if size != PICTURE:
            raise UnsupportedError(f"{folder}: expected a CLIP of pictures of {PICTURE} x {PICTURE}, got {size}")
        self.width = int(config.get("projection_dim", vision.get("projection_dim", 512)))
        self._file = _weights(self._folder)
        look = _json(self._folder / "preprocessor_config.json", missing={})
        self._mean, self._std = (
            np.array(look.get(key, usual), np.float32) for key, usual in (("image_mean", MEAN), ("image_std", STD))
        )
        self.identity = f"clip/1 {_fingerprint(self._file)} {self._mean} {self._std}"
        self._tower: Tower | None = None

    def measure(self, pictures: Pictures) -> NDArray[np.float32]:
        """Values (k, width); see ``PictureMeasure``.

        Raises:
            UnsupportedError: a missing extra, or a model that gives vectors of another width.
        """
        if self._tower is None:
            run = _by_onnx if self._file.suffix == ".onnx" else _by_torch
            self._tower = run(self._file, self._num_threads)
        batches = [np.empty((0, self.width), np.float32)]
        for begin in range(0, len(pictures), BATCH):
            pixels = (pictures[begin : begin + BATCH] / np.float32(255) - self._mean) / self._std
            batches.append(self._tower(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)))
            if batches[-1].shape[1:] != (self.width,):
                raise UnsupportedError(f"{self._file}: expected vectors of {self.width}, got {batches[-1].shape[1:]}")
        return np.concatenate(batches)


def _by_onnx(file: Path, num_threads: int) -> Tower:
    network = OnnxNetwork(file, num_threads=num_threads)
    return lambda pixels: network(pixels)[0]


def _by_torch(file: Path, num_threads: int) -> Tower:
    try:
        import torch
        from transformers import CLIPVisionModelWithProjection
    except ImportError as error:
        raise UnsupportedError(f"{file} needs transformers and torch: pip install 'megaseg[clip]'") from error
    if num_threads:
        torch.set_num_threads(num_threads)
    model: Any = CLIPVisionModelWithProjection.from_pretrained(file.parent, local_files_only=True, dtype=torch.float32)
    model.eval()

    def tower(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(pixel_values=torch.from_numpy(pixels)).image_embeds.numpy(), np.float32)

    return tower


def _weights(folder: Path) -> Path:
    names = (*ONNX, "model.safetensors")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UnsupportedError(f"{folder}: expected {' or '.join((ONNX[0], names[-1]))}, got neither")
    return found


def _json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise UnsupportedError(f"{path}: expected a CLIP's config, got no file") from error
    except (OSError, ValueError) as error:
        raise UnsupportedError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise UnsupportedError(f"{path}: expected a JSON object")
    return document


def _fingerprint(file: Path) -> str:
    """Digest of a file's head and its size and time: the weights of a large model are not read twice."""
    stat = file.stat()
    with file.open("rb") as opened:
        head = hashlib.sha256(opened.read(1 << 20)).hexdigest()
    return f"{head[:16]} {stat.st_size} {stat.st_mtime_ns}"
