"""``megaseg train head`` and ``eval head`` on clips with annotations in VidSitu's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from generated_events import encoder, relation_clips, role_clips
from support import Run

from megaseg.engine.inputs.feature_files import save_features
from megaseg.engine.model.checkpoint import save_checkpoint


@pytest.mark.parametrize("kind", ["relation", "roles"])
def test_a_head_of_events_is_trained_and_scored(run: Run, tmp_path: Path, kind: str) -> None:
    made: Any = relation_clips(6, 0) if kind == "relation" else role_clips(6, 0, held_out=False)
    clips, notes = tmp_path / "clips", tmp_path / "vsann.json"
    clips.mkdir()
    for name, movie in made[0].items():
        save_features(clips / f"{name}.npz", movie)
    notes.write_text(json.dumps(made[1]))
    save_checkpoint(tmp_path / "encoder.safetensors", encoder())
    (tmp_path / "c.json").write_text('{"epochs": 1}')
    shared = ("--labels", notes, "--json")
    code, out, err = run(
        *("train", "head", tmp_path / "encoder.safetensors", clips, "--head", kind, "-o", tmp_path / "h.safetensors"),
        *("--config", tmp_path / "c.json", *shared),
    )
    assert code == 0, err
    assert json.loads(out)["head"] == kind
    code, out, err = run("eval", "head", tmp_path / "h.safetensors", clips, *shared)
    assert code == 0, err
    assert {"relation": ("pairs", 24), "roles": ("events", 30)}[kind] in json.loads(out).items()
    notes.write_text(json.dumps([{"Ev1": {}}]))
    code, _, err = run("eval", "head", tmp_path / "h.safetensors", clips, *shared)
    assert code == 2
    assert "annotation 0: expected the objects Ev1, Ev2, Ev3, Ev4, Ev5" in err.replace("\n", " ")
