"""From a source to its result: features, files and screenplays through one model or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screenplays import SCRIPT, ZeroExtractor, model, save_models, screenplay
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Features, save_features
from megaseg.engine.tasks.together import options_for_each
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import RECIPES, Screenplay, parse_screenplay, recipe_for
from megaseg.features.extractor import UnnamedUnits
from megaseg.media.video import Video
from megaseg.pipelines import Pipeline, find_sources, open_source

CONFIG = small_config()


def pipeline(*tasks: str) -> Pipeline:
    """Models of screenplays."""
    engines = [Engine.from_checkpoint(model(task), compute_type="float32") for task in tasks]
    return Pipeline(engines, extractors=[ZeroExtractor()])


def test_acts_end_where_the_scene_model_found_scenes() -> None:
    found = pipeline("act", "scene").segment(screenplay(named=False), num_scenes=8)
    assert [*found.tracks] == ["scenes", "acts"]
    assert found.num_shots == 36
    assert len(found.acts) == 6
    assert {act.last_shot for act in found.acts} <= {scene.last_shot for scene in found.scenes}


def test_an_act_model_alone_reads_the_scenes_that_the_source_names() -> None:
    found = pipeline("act").segment(screenplay())
    assert found.num_shots == 36
    assert all(point.shot % 4 == 3 for point in found.turning_points)
    with pytest.raises(UnnamedUnits, match="movie: expected a screenplay that names its scenes.*a model that finds"):
        pipeline("act").segment(screenplay(named=False))


def test_a_screenplay_is_encoded_once_for_both_models(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    own = ZeroExtractor.vectors
    monkeypatch.setattr(ZeroExtractor, "vectors", lambda *given: calls.append(1) or own(*given))
    pipeline("scene", "act").segment(screenplay(), num_scenes=8)
    assert calls == [1]


def test_a_screenplay_file_is_its_text(tmp_path: Path) -> None:
    for name in ("movie.fountain", "movie.txt"):
        (tmp_path / name).write_text(SCRIPT)
        own = pipeline("scene").segment(tmp_path / name)
        assert own.to_dict() == pipeline("scene").segment(parse_screenplay(SCRIPT, "movie")).to_dict()
    assert own.num_shots == 18


def test_features_of_any_form_give_the_engine_s_result(tmp_path: Path) -> None:
    movie = random_features(CONFIG, 20)
    save_features(tmp_path / "movie.npz", Features(movie))
    engine = Engine.from_checkpoint(random_checkpoint(CONFIG))
    expected = engine.segment(movie, threshold=0.3).to_dict()
    (found,) = find_sources(tmp_path / "movie.npz")
    for source in (movie, Features(movie), tmp_path / "movie.npz", str(tmp_path / "movie.npz"), found):
        assert Pipeline([engine]).segment(source, threshold=0.3).to_dict() == expected


def test_several_movies_together_are_each_alone() -> None:
    engines = [Engine.from_checkpoint(random_checkpoint(small_config(task))) for task in ("scene", "act")]
    both, movies = Pipeline(engines), [Features(random_features(CONFIG, shots)) for shots in (12, 30)]
    together = both.segment_many(movies, num_scenes=3)
    assert [one.to_dict() for one in together] == [both.segment(movie, num_scenes=3).to_dict() for movie in movies]
    mappings = both.segment_many([movie.modalities for movie in movies], num_scenes=3)
    assert [one.to_dict() for one in mappings] == [one.to_dict() for one in together]


def test_features_are_those_that_one_model_reads() -> None:
    play = screenplay()
    for task, rows in (("scene", 36), ("act", 9)):
        assert pipeline(task).features(play).num_shots == rows
    assert pipeline("act").features(play).recipe == "screenplay-scenes/1"


def test_models_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="expected one model for each of the tasks scene and act, got model 1"):
        pipeline("scene", "scene")
    files = save_models(tmp_path)
    with pytest.raises(FeatureError, match="act.safetensors of task act"):
        Pipeline.from_checkpoints([files["act"], files["act"]])
    with pytest.raises(FeatureError, match="features: the checkpoints read different features, screenplay-blocks"):
        pipeline("scene", "act").segment(random_features(CONFIG, 9))


def test_what_a_pipeline_does_not_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="checkpoint: expected at least one model, got none"):
        Pipeline([])
    for one in ("screenplay-scenes", tmp_path / "screenplay-scenes"):
        with pytest.raises(FeatureError, match="checkpoints: expected a list of paths or names, got '.*screenplay-s"):
            Pipeline.from_checkpoints(one)  # type: ignore[arg-type]
    for number in (1, -1):
        with pytest.raises(FeatureError, match=f"model: expected a number from 0 to 0, got {number}"):
            pipeline("scene").features(screenplay(), number)
    with pytest.raises(FeatureError, match="empty: expected a screenplay with blocks"):
        pipeline("scene").segment(Screenplay("empty", (), None))
    synopses = Engine.from_checkpoint(random_checkpoint(small_config("synopsis")))
    with pytest.raises(UnsupportedError, match="segment: expected a scene or act model, got one of task synopsis"):
        Pipeline([synopses]).segment(random_features(CONFIG, 9))


def test_options_need_a_task() -> None:
    with pytest.raises(FeatureError, match="tasks: expected at least one that takes the options, got none"):
        options_for_each([], {"threshold": 0.5})


def test_a_model_s_recipe_decides_which_extractor_runs() -> None:
    for source, kinds in ((screenplay(), 2), (Video("film", Path("film.mp4")), 3)):
        own = {name: recipe for name, recipe in RECIPES.items() if isinstance(source, recipe.extractor.reads)}
        assert len(own) == kinds
        for name, recipe in own.items():
            assert recipe_for(source, name) is recipe
        for name in RECIPES.keys() - own.keys():
            with pytest.raises(FeatureError, match=f"recipe: the checkpoint expects '{name}'"):
                recipe_for(source, name)
    assert recipe_for(screenplay(), None).name == "screenplay-blocks/1"
    with pytest.raises(FeatureError, match="recipe: the checkpoint expects 'video/1', movie gives screenplay-blocks/1"):
        recipe_for(screenplay(), "video/1")


def test_a_folder_holds_features_and_screenplays(tmp_path: Path) -> None:
    with pytest.raises(
        FeatureError,
        match=r"expected films, \.npz, \.safetensors, \.fountain, \.spmd, \.fdx files in the",
    ):
        find_sources(tmp_path)
    save_features(tmp_path / "b.npz", Features(random_features(CONFIG, 4)))
    (tmp_path / "a.fountain").write_text(SCRIPT)
    (tmp_path / "notes.txt").write_text("no movie")
    assert [source.name for source in find_sources(tmp_path)] == ["a", "b"]
    with pytest.raises(FeatureError, match="expected one movie, got 2"):
        open_source(tmp_path)


@pytest.mark.parametrize("source", [3, None, ["a.npz"]])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(FeatureError, match="features: expected a mapping"):
        open_source(source)


def test_a_shipped_sample_is_a_source() -> None:
    (found,) = find_sources("sample")
    assert found.name == "sample"
    opened = open_source("sample")
    assert isinstance(opened, Features)
    assert np.isfinite(opened.modalities["structure"]).all()


def test_edits_hold_in_another_run_over_the_same_shots(tmp_path: Path) -> None:
    models = pipeline("scene", "act")
    edited = models.segment(screenplay(), num_scenes=8).redecide(locked=[2, 17])
    again = models.segment(screenplay(), keep=edited, num_scenes=9)
    assert {2, 17} <= set(again.boundaries.tolist())
    assert len(again.scenes) == 9
    assert {act.last_shot for act in again.acts} <= {scene.last_shot for scene in again.scenes}
    features = random_features(CONFIG, 20, seed=1)
    engine = Engine.from_checkpoint(random_checkpoint(CONFIG, seed=1))
    own = Pipeline([engine]).segment(features, threshold=1.0).redecide(locked=[7], barred=[3])
    kept = Pipeline([engine]).segment(features, threshold=1.0, keep=own)
    assert kept.boundaries.tolist() == [7]
    assert kept.decision.barred == (3,)
    with pytest.raises(FeatureError, match="keep: expected an edited result of the same 36 shots"):
        models.segment(screenplay(), keep=own)


def test_an_explained_movie_has_its_result_and_why_from_one_run_of_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    both, runs = pipeline("scene", "act"), []
    for engine in both.engines:
        own = engine.backend.run
        monkeypatch.setattr(engine.backend, "run", lambda *given, own=own: runs.append(given[1:]) or own(*given))
    found = both.explained(screenplay(), num_scenes=8)
    assert runs == [(("logits", "logits.parts"),), (("logits",),)], "the scene model comes first"
    assert found.thumbnails is None
    assert found.explanation is not None
    assert {*found.explanation.names} == {"boundary"}
    assert found.explanation.importance.shape == (36, len(found.explanation.modalities))
    assert found.result.to_dict() == both.segment(screenplay(), num_scenes=8).to_dict()
    assert pipeline("act").explained(screenplay()).explanation is None
