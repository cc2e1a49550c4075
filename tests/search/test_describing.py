"""From sources to scenes and vectors: who says where scenes end, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from screenplays import ZeroExtractor, model, screenplay
from search.movies import describer, movie
from shot_encoders import SCENE, contextualizer
from support import random_checkpoint, small_config

from megaseg import Engine, Features, save_checkpoint
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.screenplay import blocks, scenes
from megaseg.pipelines.scenes import scene_vectors
from megaseg.search.describing import Describer
from megaseg.search.segment import NO_TIME

ENDS = [9, 19, 29, 33]


def test_labels_say_where_scenes_end() -> None:
    reader = describer()
    described = reader.describe(movie(34))
    kept = described.kept()
    assert described.found == "labels"
    assert kept.scenes.tolist() == [[0, 9, 0, 240], [10, 19, 240, 480], [20, 29, 480, 720], [30, 33, 720, 816]]
    assert (kept.shots, kept.time_base) == (34, "1/24")
    assert np.array_equal(kept.vectors, scene_vectors(reader.engine, movie(34), kept.scenes[:, :2]))
    assert np.allclose(np.linalg.norm(kept.vectors, axis=1), 1, atol=1e-6)


def test_results_and_models_say_so_too(tmp_path: Path) -> None:
    """Before labels: whoever names them means them."""
    scene = contextualizer(**SCENE)
    save_checkpoint(tmp_path / "scenes.safetensors", random_checkpoint(scene))
    expected = Engine.from_checkpoint(tmp_path / "scenes.safetensors").segment(movie(34))
    by_model = describer(scenes=tmp_path / "scenes.safetensors").describe(movie(34))
    assert by_model.found == "scenes"
    assert by_model.movie.shots[:, 1].tolist() == [scene.last_shot for scene in expected.scenes]
    two = Engine.from_checkpoint(tmp_path / "scenes.safetensors").segment(movie(34), num_scenes=2)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "m.json").write_text(two.to_json())
    for path in (tmp_path / "results", tmp_path / "results" / "m.json"):
        by_result = describer(scenes=path).describe(movie(34), "m")
        assert by_result.found == "results"
        assert by_result.movie.shots[:, 1].tolist() == [scene.last_shot for scene in two.scenes]
    with pytest.raises(FeatureError, match="scenes: expected the result of 'x' as .*results/x.json, got: No such file"):
        describer(scenes=tmp_path / "results").describe(movie(34), "x")
    with pytest.raises(FeatureError, match="scenes: expected scenes of 33 shots, got some of 34"):
        describer(scenes=tmp_path / "results").describe(movie(33), "m")
    (tmp_path / "results" / "m.json").write_text("{")
    with pytest.raises(FeatureError, match=r"scenes: .*m.json: expected a result"):
        describer(scenes=tmp_path / "results").describe(movie(34), "m")


def test_features_that_no_shipped_model_reads() -> None:
    with pytest.raises(FeatureError, match="scenes: .* does not find them; labels, results or a model of scenes do"):
        describer().describe(movie(20, labels=False))


def test_what_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "act.safetensors", random_checkpoint(small_config("act")))
    with pytest.raises(FeatureError, match="scenes: expected a model of scenes, or results, got .* act"):
        describer(scenes=tmp_path / "act.safetensors")
    with pytest.raises(UnsupportedError, match="expected an encoder of shots"):
        Describer.from_checkpoint(random_checkpoint(small_config()))


def test_fewer_than_nine_shots_and_modalities_that_are_not_there() -> None:
    described = describer().describe({**movie(4), "audio": np.ones((4, 5), np.float32)})
    assert described.vectors.shape == (1, 24)
    silent = {name: rows for name, rows in movie(4).items() if name != "audio"}
    assert describer().describe(silent).movie.remarks == ("audio: not there, read as zeros",)


def modalities(width: int) -> tuple[Modality, ...]:
    return Modality("description", 384), Modality("dialogue", 384), Modality("structure", width)


def test_a_screenplay_by_its_headings_or_by_a_model(tmp_path: Path) -> None:
    encoder = random_checkpoint(replace(contextualizer(), modalities=modalities(80), recipe=blocks.RECIPE))
    options = {"extractors": [ZeroExtractor()], "num_threads": 1}
    named = Describer.from_checkpoint(encoder, **options).describe(screenplay())
    assert named.found == "labels"
    assert named.movie.shots.tolist() == [[first, first + 3] for first in range(0, 36, 4)]
    assert named.kept().scenes[0].tolist() == [0, 3, NO_TIME, NO_TIME]
    save_checkpoint(tmp_path / "by-model.safetensors", model("scene"))
    found = Describer.from_checkpoint(encoder, scenes=tmp_path / "by-model.safetensors", **options).describe(
        screenplay(named=False)
    )
    assert found.found == "by-model"
    assert found.movie.shots[-1, 1] == 35


def test_an_encoder_whose_rows_are_scenes() -> None:
    """A row of the encoder is a scene; the index tells of its blocks."""
    encoder = random_checkpoint(replace(contextualizer(), modalities=modalities(35), recipe=scenes.RECIPE))
    reader = Describer.from_checkpoint(encoder, extractors=[ZeroExtractor()], num_threads=1)
    described = reader.describe(screenplay())
    assert described.movie.features.num_shots == 9
    assert described.movie.rows[4].tolist() == [4, 4]
    assert described.kept().scenes[4, :2].tolist() == [16, 19]
    expected = scene_vectors(reader.engine, described.movie.features, [[4, 5]])[0]
    assert np.array_equal(reader.vector(described.movie, 17, 22), expected)
    rows = Features({m.name: described.movie.features.modalities[m.name] for m in modalities(35)}, recipe=scenes.RECIPE)
    assert reader.describe(rows).kept().scenes[:, :2].tolist() == [[row, row] for row in range(9)]
