"""libmegaseg as a program without Python meets it: built, installed, found by CMake, and right."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawings import checkpoint_of
from programs import Program
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "cpp"
HEADER = ROOT / "csrc" / "include" / "megaseg" / "megaseg.h"

pytestmark = [
    pytest.mark.slow,  # builds the library
    pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("c++")), reason="needs cmake and a compiler"),
]


def call(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example program, built outside the checkout against an installed library."""
    folder = tmp_path_factory.mktemp("embed")
    call("cmake", "-S", ROOT, "-B", BUILD)
    call("cmake", "--build", BUILD, "--parallel", "2")
    call("cmake", "--install", BUILD, "--prefix", folder / "installed")
    shutil.copytree(ROOT / "examples" / "embed", folder / "source")
    call("cmake", "-S", folder / "source", "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={folder / 'installed'}")
    call("cmake", "--build", folder / "build")
    return folder / "build" / "segment"


def test_the_example_finds_the_scenes_that_python_finds(example: Path, tmp_path: Path) -> None:
    config = small_config(threshold=0.45)
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    features = random_features(config, 70)
    for name, array in features.items():
        np.save(tmp_path / f"{name}.npy", array)
    arrays = [f"{name}={tmp_path / name}.npy" for name in features]
    lines = call(example, tmp_path / "model.mseg", *arrays).splitlines()
    scenes = Engine.from_checkpoint(tmp_path / "model.mseg").segment(features).scenes
    assert lines == [f"{scene.first_shot} {scene.last_shot}" for scene in scenes]
    assert len(lines) > 3


def test_the_example_says_what_is_wrong(example: Path, tmp_path: Path) -> None:
    done = subprocess.run([example, tmp_path / "missing.mseg"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "missing.mseg: No such file" in done.stderr
    done = subprocess.run([example], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: segment MODEL.mseg MODALITY=ARRAY.npy...\n")


class Movie(ctypes.Structure):
    _fields_ = (("features", ctypes.POINTER(ctypes.c_void_p)), ("shots", ctypes.c_int))


def c_scores(path: Path, features: dict[str, np.ndarray], columns: int) -> tuple[int, np.ndarray]:
    """Status and scores (shots, columns) of megaseg_scores, through the C functions alone."""
    library = ctypes.CDLL(str(BUILD / "libmegaseg.so"))
    library.megaseg_close.argtypes = [ctypes.c_void_p]
    arrays = list(features.values())
    pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
    movie = Movie(pointers, len(arrays[0]))
    scores = np.zeros((len(arrays[0]), columns), np.float32)
    model = ctypes.c_void_p()
    assert library.megaseg_open(str(path).encode(), None, ctypes.byref(model), None) == 0
    out = scores.ctypes.data_as(ctypes.c_void_p)
    status = library.megaseg_scores(model, ctypes.byref(movie), out, None)
    library.megaseg_close(model)
    return status, scores


@pytest.mark.parametrize("task", ["scene", "act"])
def test_scores_are_those_of_python(example: Path, tmp_path: Path, task: str) -> None:
    config = small_config(task)
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    features = random_features(config, 31)
    expected = Engine.from_checkpoint(tmp_path / "model.mseg").segment(features).scores
    status, scores = c_scores(tmp_path / "model.mseg", features, expected.size // 31)
    assert status == 0
    np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=1e-6, atol=0)


def test_a_synopsis_model_has_no_scores(example: Path, tmp_path: Path) -> None:
    config = small_config("synopsis")
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    status, scores = c_scores(tmp_path / "model.mseg", random_features(config, 31), config.num_classes)
    assert status == 1  # MEGASEG_BAD_ARGUMENT
    assert not scores.any()


def test_a_file_that_is_written_to_while_it_is_open_is_a_bad_model(example: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.mseg"
    compile_checkpoint(random_checkpoint(small_config()), path)
    library = ctypes.CDLL(str(BUILD / "libmegaseg.so"))
    library.megaseg_error_message.restype = ctypes.c_char_p
    arrays = list(random_features(small_config(), 31).values())
    movie = Movie((ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)), 31)
    scores, model, error = np.zeros(31, np.float32), ctypes.c_void_p(), ctypes.c_void_p()
    assert library.megaseg_open(str(path).encode(), None, ctypes.byref(model), None) == 0
    out = scores.ctypes.data_as(ctypes.c_void_p)
    assert library.megaseg_scores(model, ctypes.byref(movie), out, None) == 0
    os.truncate(path, 4096)
    assert library.megaseg_scores(model, ctypes.byref(movie), out, ctypes.byref(error)) == 2  # MEGASEG_BAD_MODEL
    assert b"changed on disk since it was loaded" in library.megaseg_error_message(error)
    library.megaseg_error_free(error)
    library.megaseg_close(model)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ([("task", "scene"), ("threshold", "high")], b"expected a threshold from 0 to 1, got high"),
        ([("threshold", "1.5")], b"expected a threshold from 0 to 1, got 1.5"),
        ([("threshold", "nan")], b"expected a threshold from 0 to 1, got nan"),
        ([("task", "scene")], b"expected a scene model of 2 classes"),
        ([("task", "act")], None),
        ([("task", "caption")], None),
    ],
)
def test_properties_that_do_not_fit_are_a_bad_model(
    example: Path, tmp_path: Path, properties: list[tuple[str, str]], message: bytes | None
) -> None:
    program = Program()
    program.properties = properties
    program.output("logits", program.read("x", 3))
    program.write(tmp_path / "model.mseg")
    library = ctypes.CDLL(str(BUILD / "libmegaseg.so"))
    library.megaseg_error_message.restype = ctypes.c_char_p
    library.megaseg_model_threshold.restype = ctypes.c_float
    model, error = ctypes.c_void_p(), ctypes.c_void_p()
    status = library.megaseg_open(str(tmp_path / "model.mseg").encode(), None, ctypes.byref(model), ctypes.byref(error))
    if message is None:
        assert status == 0
        assert library.megaseg_model_threshold(model) == 0.5
        assert library.megaseg_model_task(model) == (1 if properties[0][1] == "act" else 3)
        library.megaseg_close(model)
    else:
        assert status == 2  # MEGASEG_BAD_MODEL
        assert message in library.megaseg_error_message(error)
        library.megaseg_error_free(error)


def test_a_model_with_a_second_stream_is_not_supported(example: Path, tmp_path: Path) -> None:
    compile_checkpoint(checkpoint_of("crossed", False), tmp_path / "model.mseg")
    library = ctypes.CDLL(str(BUILD / "libmegaseg.so"))
    library.megaseg_error_message.restype = ctypes.c_char_p
    model, error = ctypes.c_void_p(), ctypes.c_void_p()
    status = library.megaseg_open(str(tmp_path / "model.mseg").encode(), None, ctypes.byref(model), ctypes.byref(error))
    assert status == 3  # MEGASEG_UNSUPPORTED
    assert b"expected a model with a row a shot of every modality, got token" in library.megaseg_error_message(error)
    library.megaseg_error_free(error)


def test_the_data_of_the_cpp_test_is_what_the_code_writes(tmp_path: Path) -> None:
    folders = [str(ROOT / "tests" / folder) for folder in ("", "cpp", "engine/backends/native")]
    code = f"import pathlib, sys; sys.path += {folders}; import make_data; "
    call(sys.executable, "-c", code + f"make_data.write(pathlib.Path({str(tmp_path)!r}))")
    for path in sorted((ROOT / "tests" / "cpp" / "data").iterdir()):
        if path.suffix == ".npy":  # other compilers may fuse other products
            np.testing.assert_allclose(np.load(path), np.load(tmp_path / path.name), rtol=0, atol=1e-5)
        else:
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_the_header_is_strict_c() -> None:
    call("c++", "-x", "c", "-std=c11", "-pedantic-errors", "-Wall", "-Werror", "-fsyntax-only", HEADER)


def test_the_library_has_the_version_of_the_package() -> None:
    (version,) = re.findall(r"project\(megaseg VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
