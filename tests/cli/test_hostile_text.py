"""Names and texts of users are shown as they were written, and nothing in them acts on a table, terminal or picture."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.progress import Task
from rich.table import Table
from screenplays import ZeroExtractor, save_models
from support import Run, random_checkpoint, random_features, small_config

import megaseg.cli
from megaseg import Features, save_checkpoint, save_features
from megaseg.cli.console import PlainConsole, _Description, plain
from megaseg.engine.inputs.modality import Modality
from megaseg.features import ScreenplayExtractor
from megaseg.report.text import visible

NAME = "beat] [b] $x_$ :smile: \x1b[31m\u202e\x9b אב 😀"
SHOWN = "beat] [b] $x_$ :smile: \\x1b[31m\\u202e\\x9b אב 😀"
FOLDER = "a["  # before a name, as in a[/beat], the tag that closes one never opened
CLI = Path(megaseg.cli.__file__).parent
MODALITIES = (Modality("_x", 13), Modality("audio", 7))


def shown(text: str) -> str:
    """What came through the console, without the breaks of lines."""
    assert not [character for character in text if character != "\n" and visible(character) != character]
    return "".join(text.split())


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir()
    save_checkpoint(tmp_path / FOLDER / f"{NAME}.safetensors", random_checkpoint(small_config(modalities=MODALITIES)))
    return tmp_path / FOLDER / f"{NAME}.safetensors"


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    config = small_config(modalities=MODALITIES)
    labels = np.arange(20) % 5 == 4
    file = tmp_path / "movies[" / f"{NAME}.npz"
    file.parent.mkdir()
    save_features(file, Features(random_features(config, 20), labels=labels.astype(np.uint8)))
    return file


def test_no_command_makes_markup_or_acts_on_the_terminal(run: Run, scene: Path, movie: Path, tmp_path: Path) -> None:
    def expect(*arguments: Any, code: int = 0, name: str = SHOWN) -> str:
        got, out, err = run(*arguments)
        assert got == code, err
        assert "".join(name.split()) in shown(out + err), (arguments, out, err)
        return out

    expect("segment", movie, "-c", scene, "-o", tmp_path / "out", "--plot", tmp_path / "a.png")
    expect("redecide", tmp_path / "out" / f"{NAME}.json", "--num-scenes", "3", "--plot", tmp_path / "b.svg")
    expect("explain", movie, "-c", scene, "-o", tmp_path / "why")
    expect("info", scene)
    expect("compile", scene, "-o", tmp_path / FOLDER / f"{NAME}.mseg")
    expect("compile", scene, "-o", tmp_path / FOLDER / f"{NAME}.onnx", "--target", "onnx")
    expect("info", tmp_path / FOLDER / f"{NAME}.mseg")
    expect("eval", "scene", movie.parent, "-c", scene, name="19 shots")
    expect("catalog", movie, "-c", scene, "-o", tmp_path / "catalog", name="0 failures")
    save_features(movie, Features({NAME: np.zeros((3, 4), np.float32)}))
    expect("segment", movie, "-c", scene, code=2)
    movie.write_bytes(b"nothing")
    expect("catalog", movie, "-c", scene, "-o", tmp_path / FOLDER / NAME, code=1)
    expect("segment", movie, "-c", scene, code=2)
    expect("eval", "scene", movie.parent, "-c", scene, code=2)
    expect("convert", movie, tmp_path / f"{NAME}.bin", "--config", movie, code=2)
    expect("info", "a", NAME, code=2)  # a usage error


def test_words_of_scripts_are_no_markup(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: Path) -> None:
    for name in ("vectors", "log_odds"):
        monkeypatch.setattr(ScreenplayExtractor, name, getattr(ZeroExtractor, name))
    monkeypatch.setattr(ScreenplayExtractor, "identity", "test")
    blocks = [["a", "", "[/beat] The \x1b[31mradio :smile: dies.", 0], ["d", "[b]BEN", "Hello.", 1]]
    (tmp_path / "pack.jsonl").write_text(json.dumps({"name": NAME, "blocks": blocks}))
    model = save_models(tmp_path)["scene"]
    code, out, _ = run("segment", tmp_path / "pack.jsonl", "-c", model, "--threshold", "0")
    assert code == 0
    assert "[/beat] The \\x1b[31mradio :smile" in out
    code, out, err = run("features", "screenplay", tmp_path / "pack.jsonl", "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "".join(SHOWN.split()) in shown(out)


def test_names_that_are_not_utf_8_are_shown(run: Run, scene: Path, movie: Path, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.npz")
    shutil.copy(movie, path)
    code, out, _ = run("segment", path, "-c", scene, "--plot", tmp_path / "a.svg")
    assert code == 0
    assert "caf\\udce9: " in out


@given(
    st.text(
        st.sampled_from([*"[]/:$_^{}\\ab\n\t\r\0\x1b\x07\x9b\x85", "\u202e", "\u200f", "\u2028", "😀", "א", "\udcff"])
    )
)
@example("[bold]a[/]")
@example("[/]")
@example(":smile:")
def test_a_console_shows_every_text(text: str) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, width=4000, force_terminal=False)
    table = Table(f"head{text}", title=f"title{text}", caption=f"caption{text}")
    table.add_row(f"cell{text}")
    console.print(table)
    console.print(f"printed{text}", soft_wrap=True)
    task = Task(0, f"doing{text}", None, 0, _get_time=lambda: 0.0)  # type: ignore[arg-type]
    console.print(_Description().render(task), soft_wrap=True)
    got = shown(file.getvalue())
    for word in ("head", "title", "caption", "cell", "printed", "doing"):
        assert word + "".join(visible(text).split()) in got


def test_what_is_visible_stays_and_what_acts_is_shown() -> None:
    assert visible("Zürich: Ελλάδα, 東京, שלום, 😀‍👩, [b] $x$ \\n") == "Zürich: Ελλάδα, 東京, שלום, 😀‍👩, [b] $x$ \\n"
    assert visible("a\nb\tc\x1b\x7f\x85\u2028\u202e\ud800") == "a\\nb\\tc\\x1b\\x7f\\x85\\u2028\\u202e\\ud800"
    for number in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x61C):
        assert visible(chr(number)).startswith("\\"), f"{number:x}"
    for number in range(0x110000):
        if unicodedata.category(chr(number)) in ("Cc", "Cs", "Zl", "Zp"):
            assert visible(chr(number)).isascii()
    assert plain("[b]x", "red").plain == "[b]x"


def test_only_the_console_prints() -> None:
    """Every command prints through one module, or markup and escape codes would come back."""
    for path in sorted(CLI.rglob("*.py")):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("Console", "TextColumn", "Text.from_markup", "rich.print", "typer.echo"), path
            allowed = {"__init__.py": ["megaseg {__version__}"], "results.py": ["map(visible"]}.get(path.name, ())
            assert name != "print" or any(words in ast.unparse(node) for words in allowed), path
