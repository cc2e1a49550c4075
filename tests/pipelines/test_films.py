"""From a film to its result: what a pipeline reads of it, and the shipped models by the kind of source."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import Tone, beeps, shots, write_film

import megaseg
from megaseg import save_features
from megaseg.engine.engine import Engine
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import VideoExtractor
from megaseg.features.extractor import MissingInput
from megaseg.features.video import dialogue_scenes
from megaseg.features.video import extractor as video_extractor
from megaseg.media.reading import read_video
from megaseg.media.video import Video
from megaseg.pipelines import Pipeline, Pipelines
from megaseg.pipelines.shipped import FILM

pytest.importorskip("av", reason="needs the extra video")
SRT = "1\n00:00:00,200 --> 00:00:01,000\nIs it late?\n\n2\n00:00:01,500 --> 00:00:02,500\nNot yet. [door slams]\n"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of eight shots, with sound and a subtitle file."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    path.with_suffix(".srt").write_text(SRT)
    return write_film(path, shots(96), sound=[Tone(beeps(4))])


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Films that are decoded."""
    seen: list[str] = []
    monkeypatch.setattr(
        video_extractor, "read_video", lambda video, *a, **k: seen.append(video.name) or read_video(video, *a, **k)
    )
    return seen


class NoEncoder(VideoExtractor):
    """Without the weights of the text encoder."""

    @property
    def encoder(self) -> Any:  # type: ignore[override]
        raise UnsupportedError("encoder: expected the package of its weights, got none")


def test_a_film_has_scenes_at_its_own_times(film: Path, tmp_path: Path) -> None:
    result = megaseg.segment(film, extractors=[VideoExtractor(cache=tmp_path)])
    assert [*result.tracks] == ["scenes"]
    assert result.num_shots == 8
    np.testing.assert_allclose([result.seconds(tick) for tick in result.times[:, 0]], np.arange(8) / 2, atol=1e-6)
    assert result.seconds(result.scenes[-1].end_ticks) == pytest.approx(4)
    (remark,) = result.remarks
    assert remark.startswith("film: no acts: dialogue: expected at least 100 lines to find acts by, got 2")
    assert json.loads(result.to_json())["remarks"] == [remark]
    assert megaseg.Segmentation.from_json(result.to_json()).redecide(num_scenes=2).remarks == result.remarks


def test_an_explained_film_has_its_pictures_of_the_same_pass(film: Path, tmp_path: Path, passes: list[str]) -> None:
    found = Pipelines(extractors=[VideoExtractor(cache=tmp_path)]).of(Video("film", film)).explained(film)
    assert passes == ["film"]
    assert found.result.to_dict() == megaseg.segment(film, extractors=[VideoExtractor(cache=tmp_path)]).to_dict()
    assert {"visual", "audio"} <= {*found.explanation.modalities}
    pictures = found.thumbnails.of_shots(found.result.times)
    assert len({*pictures}) == 8


def test_both_models_share_one_decoding_pass_and_later_runs_need_none(
    film: Path, tmp_path: Path, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue_scenes.scene_features, "__kwdefaults__", {"least": 1})
    pipelines = Pipelines(extractors=[VideoExtractor(cache=tmp_path)])
    first = pipelines.segment(film, num_scenes=7)
    assert [*first.tracks] == ["scenes", "acts"]
    assert {act.last_shot for act in first.acts} <= {scene.last_shot for scene in first.scenes}
    np.testing.assert_array_equal(first.times[[point.shot for point in first.turning_points]] >= 0, True)
    assert passes == ["film"]
    assert pipelines.segment(film, num_scenes=5).remarks == (
        "film: no acts: expected at least 6 scenes to end acts with, got 5",
    )
    told: list[tuple[str, float]] = []
    again = VideoExtractor(cache=tmp_path, advance=lambda stage, done, whole: told.append((stage, done)))
    assert Pipelines(extractors=[again]).segment(film, threshold=0.01).num_shots == 8
    assert not [done for stage, done in told if stage == "decoding" and 0 < done < 4]


def test_raw_features_of_a_film_give_its_result(film: Path, tmp_path: Path) -> None:
    extractor = VideoExtractor(cache=tmp_path)
    raw = extractor.read(Video("film", film)).raw
    assert set(raw.modalities) == {"visual", "colour", "motion", "audio", "dialogue"}
    assert raw.modalities["dialogue"].any(axis=1).tolist() == [True, True, False, True, True, False, False, False]
    save_features(tmp_path / "film.npz", raw)
    expected = Pipeline.from_checkpoints(["video-scenes"], extractors=[extractor]).segment(film).to_dict()
    del expected["source"]  # of which features alone know nothing
    assert megaseg.segment(tmp_path / "film.npz").to_dict() == expected
    both = Pipeline.from_checkpoints(["video-scenes"]).segment_many([raw, raw])
    assert [one.to_dict() for one in both] == [expected, expected]


def test_a_result_tells_of_its_film(film: Path, tmp_path: Path) -> None:
    result = megaseg.segment(film, extractors=[VideoExtractor(cache=tmp_path)])
    source = result.source
    assert source is not None
    assert (source.name, source.frame_rate, source.size, source.timecode) == ("film.mp4", 24, (64, 48), None)
    assert source.captions == ("Is it late?", "", "", "Not yet.", "", "", "", "")
    np.testing.assert_allclose(source.speech * float(result.time_base), [[0.2, 1], [1.5, 2.5]], atol=1e-4)
    assert source.loudness is not None
    assert source.loudness.shape == (8,)
    np.testing.assert_allclose(source.loudness[:7], -9, atol=0.1)  # every other half second is a tone
    assert source.loudness[7] < -60
    assert megaseg.Segmentation.from_json(result.to_json()).to_dict() == result.to_dict()


def test_without_an_encoder_dialogue_is_left_out_and_said(film: Path, tmp_path: Path) -> None:
    result = megaseg.segment(film, extractors=[NoEncoder(cache=tmp_path)])
    left = "film: dialogue is left out: encoder: expected the package of its weights, got none"
    assert result.remarks == (left, "film: no acts: encoder: expected the package of its weights, got none")


def test_acts_alone_are_an_error_without_dialogue(film: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.from_checkpoints(["video-scenes", "video-acts"], extractors=[VideoExtractor(cache=tmp_path)])
    with pytest.raises(MissingInput, match=r"film.*no acts: dialogue: expected at least 100 lines.*need subtitles"):
        pipeline.segment(film)


def test_a_user_s_shots_and_subtitles_take_the_place_of_those_found(film: Path, tmp_path: Path) -> None:
    (tmp_path / "film.scenes.txt").write_text("0 47\n48 95\n")
    (tmp_path / "other.srt").write_text("1\n00:00:03,000 --> 00:00:03,500\nHere.\n")
    own = VideoExtractor(
        cache=str(tmp_path), shots=str(tmp_path / "film.scenes.txt"), subtitles=str(tmp_path / "other.srt")
    )
    raw = own.read(Video("film", film)).raw
    assert raw.num_shots == 2
    assert raw.modalities["dialogue"].any(axis=1).tolist() == [False, True]


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"this is no film")
    with pytest.raises(FeatureError, match=r"film\.mp4: expected a video file"):
        megaseg.segment(tmp_path / "film.mp4")
    with pytest.raises(FeatureError, match=r"none\.mkv: expected a film, got no such file"):
        megaseg.segment(tmp_path / "none.mkv")
    with pytest.raises(UnsupportedError, match="detector: expected one of adaptive"):
        VideoExtractor(detector="best")


def test_options_are_checked_before_any_film(film: Path) -> None:
    with pytest.raises(FeatureError, match="threshold"):
        Pipelines().check([Video("film", film)], {"threshold": 2})


def test_locked_boundaries_survive_other_shots(film: Path, tmp_path: Path) -> None:
    first = megaseg.segment(film, extractors=[VideoExtractor(cache=tmp_path)])
    edited = first.redecide(locked=[1, 4], barred=[2], threshold=0.01)
    edited = dataclasses.replace(edited, names={"scenes": {5: "The harbour"}})
    ends = [int(first.times[shot, 1]) for shot in (1, 4)]
    (tmp_path / "film.scenes.txt").write_text("0 30\n31 95\n")
    listed = VideoExtractor(cache=tmp_path, shots=tmp_path / "film.scenes.txt")
    for extractor, count in ((VideoExtractor(cache=tmp_path), 8), (listed, 4)):
        again = megaseg.segment(film, extractors=[extractor], keep=edited, threshold=1.0)
        assert again.num_shots == count
        assert [scene.end_ticks for scene in again.scenes[:-1]] == ends
        assert again.names == {"scenes": {again.scenes[-1].first_shot: "The harbour"}}
    assert again.decision.barred == (1,)  # 0.2 s before
    with pytest.raises(FeatureError, match="keep: expected a model of scenes, where 2 boundaries are locked"):
        Pipeline.from_checkpoints(["video-acts"], extractors=[listed]).segment(film, keep=edited)


def test_a_film_of_more_scenes_than_an_act_model_takes_keeps_its_scenes(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue_scenes.scene_features, "__kwdefaults__", {"least": 1})
    own = {"extractors": [VideoExtractor(cache=tmp_path)]}
    engines = [Engine.from_checkpoint(name) for name in FILM]
    engines[1].config = dataclasses.replace(engines[1].config, max_length=6)
    result = Pipeline(engines, skip_missing=True, **own).segment(film, num_scenes=7)
    assert len(result.scenes) == 7
    assert [*result.tracks] == ["scenes"]
    takes = "film: no acts: the model takes up to 6 scenes, got 7; overflow='pool' averages neighbouring scenes"
    assert result.remarks == (takes,)
    assert [*Pipeline(engines, skip_missing=True, **own).segment(film, num_scenes=6).tracks] == ["scenes", "acts"]
    with pytest.raises(FeatureError, match="takes up to 6 shots, got 7"):
        Pipeline(engines, **own).segment(film, num_scenes=7)
