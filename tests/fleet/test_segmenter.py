"""``Segmenter`` without a cluster: files, text and arrays in one column each."""

from __future__ import annotations

from pathlib import Path

import pytest
from screenplays import SCRIPT, ZeroExtractor, save_models
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Features, save_checkpoint, save_features
from megaseg.errors import FeatureError
from megaseg.features import parse_screenplay
from megaseg.pipelines import Pipeline
from megaseg.ray import Segmenter


def expected(files: dict[str, str], name: str) -> str:
    engines = [Engine.from_checkpoint(files[task], compute_type="float32") for task in ("scene", "act")]
    return Pipeline(engines, extractors=[ZeroExtractor()]).segment(parse_screenplay(SCRIPT, name)).to_json()


def test_a_column_of_screenplays_text_or_paths(tmp_path: Path) -> None:
    files = save_models(tmp_path)
    options = {"compute_type": "float32", "extractors": [ZeroExtractor()]}
    segmenter = Segmenter([files["scene"], files["act"]], **options)
    rows = segmenter({"id": [1, 2, 3], "screenplay": [SCRIPT, "", SCRIPT]})
    assert [*rows] == ["id", "result", "error"]
    text = expected(files, "screenplay")
    assert rows["result"].tolist() == [text, None, text]
    assert rows["error"].tolist() == [None, "screenplay: expected a screenplay, found no action or dialogue", None]
    (tmp_path / "a.txt").write_text(SCRIPT)
    rows = segmenter({"path": [str(tmp_path / "a.txt"), str(tmp_path / "none.txt")]})
    assert rows["result"].tolist() == [expected(files, "a"), None]
    assert "none.txt: expected a readable screenplay" in rows["error"][1]


def test_features_and_screenplays_in_one_batch(tmp_path: Path) -> None:
    config = small_config()
    save_checkpoint(tmp_path / "scene.safetensors", random_checkpoint(config))
    save_features(tmp_path / "a.npz", Features(random_features(config, 9)))
    (tmp_path / "b.fountain").write_text(SCRIPT)
    segmenter = Segmenter(tmp_path / "scene.safetensors", extractors=[ZeroExtractor()])
    rows = segmenter({"path": [str(tmp_path / name) for name in ("b.fountain", "a.npz", "b.fountain")]})
    assert [text is None for text in rows["result"]] == [True, False, True]
    assert "expected the modalities" in rows["error"][0]


def test_remarks_on_a_screenplay_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segmenter = Segmenter(save_models(tmp_path)["scene"], extractors=[ZeroExtractor()])
    (tmp_path / "a\x1b.txt").write_bytes(SCRIPT.replace("ANNA", "ÁNNA").encode("cp1252"))
    rows = segmenter({"path": [str(tmp_path / "a\x1b.txt")], "id": [1]})
    assert rows["error"].tolist() == [None]
    assert [entry.getMessage() for entry in caplog.records] == [
        f"{tmp_path}/a\\x1b.txt: read as Windows-1252; save it as UTF-8 if names or accents look wrong"
    ]


def test_an_option_that_no_title_allows_is_refused_at_once(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "scene.safetensors", random_checkpoint(small_config()))
    for decision, message in (({"threshold": 2}, "threshold"), ({"ordered": True}, "ordered: expected an option")):
        with pytest.raises(FeatureError, match=message):
            Segmenter(tmp_path / "scene.safetensors", decision=decision)
