"""Screenplays from stdin, kinds that are told, and remarks: on stderr, while results stay on stdout."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from screenplays import ZeroExtractor, save_models
from script_files import fdx, pdf
from support import Run

TEXT = "INT. A - DAY\n\nMÁRA waits.\n\nMÁRA\nYes.\n\nEXT. B - DAY\n\nRain.\n"
TYPED = fdx(("Scene Heading", "INT. A"), ("Action", "MÁRA waits."), ("Character", "MÁRA"), ("Dialogue", "Yes."))
PAGE = [(108.0, 700.0, "Anna waits."), (252.0, 676.0, "ANNA"), (180.0, 664.0, "Not today.")]
ROW = json.dumps({"name": "Lamp", "blocks": [["a", "", "Rain.", 0], ["d", "ANNA", "Yes.", 0]]})


@pytest.fixture(autouse=True)
def _zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.features.recipe.ScreenplayExtractor.vectors", ZeroExtractor.vectors)
    monkeypatch.setattr("megaseg.features.recipe.ScreenplayExtractor.log_odds", ZeroExtractor.log_odds)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Run:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("options", "content", "names"),
    [
        ((), TEXT.encode(), ["stdin"]),
        (("--from", "text", "--name", "Lamp 2"), TEXT.encode(), ["Lamp 2"]),
        (("--from", "fountain"), TEXT.encode("utf-16"), ["stdin"]),
        ((), TYPED.encode(), ["stdin"]),
        (("--from", "fdx"), TYPED.encode(), ["stdin"]),
        (("--from", "pdf"), pdf(PAGE), ["stdin"]),
        (("--from", "jsonl"), f"{ROW}\n{ROW.replace('Lamp', 'Two')}".encode(), ["Lamp", "Two"]),
        ((), ROW.encode(), ["Lamp"]),
    ],
)
def test_stdin_is_a_screenplay(
    run: Run, stdin: Run, tmp_path: Path, options: tuple[str, ...], content: bytes, names: list[str]
) -> None:
    model = save_models(tmp_path)["scene"]
    stdin(content)  # type: ignore[call-arg]
    code, out, err = run("segment", "-", "-c", model, "--json", *options)
    assert (code, err, len(out.splitlines())) == (0, "", len(names))
    stdin(content)  # type: ignore[call-arg]
    code, out, err = run("features", "screenplay", "-", "-o", tmp_path / "out", "--json", *options)
    assert (code, err) == (0, "")
    assert [movie["name"] for movie in json.loads(out)["movies"]] == names


def test_what_stdin_cannot_be(run: Run, stdin: Run, tmp_path: Path) -> None:
    for options, content, message in (
        (("--from", "word"), TEXT.encode(), "--from: expected one of fountain, text, fdx, pdf, jsonl, got 'word'"),
        (("-",), TEXT.encode(), "-: expected stdin once, got it 2 times"),
        ((), b"{\\rtf1 INT. A}", "stdin: expected a screenplay"),
        ((), b"", "stdin: expected a screenplay"),
        (("--from", "fdx"), TEXT.encode(), "stdin: expected Final Draft's XML"),
    ):
        for command in (("segment",), ("features", "screenplay", "-o", tmp_path / "out")):
            stdin(content)  # type: ignore[call-arg]
            code, out, err = run(*command, "-", *options)
            assert (code, out) == (2, "")
            assert message in " ".join(err.split())


def test_remarks_are_warnings_on_stderr(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "[red]m\x1b.txt"
    path.write_bytes(TEXT.encode("cp1252"))
    for command in (
        ("segment", "-c", save_models(tmp_path)["scene"]),
        ("features", "screenplay", "-o", tmp_path / "o"),
    ):
        code, out, err = run(*command, path, "--json")
        assert (code, len(out.splitlines())) == (0, 1)
        assert "[red]m" in err
        assert "\x1b" not in err
        assert "warning: " in err
        assert "read as Windows-1252" in err
    assert json.loads(out)["movies"][0]["remarks"] == [
        f"{path}: read as Windows-1252; save it as UTF-8 if names or accents look wrong"
    ]


def test_a_row_without_blocks_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"name": "e", "blocks": []}\n')
    code, out, err = run("segment", tmp_path / "a.jsonl", "-c", save_models(tmp_path)["scene"])
    assert (code, out) == (2, "")
    assert "error: e: expected a screenplay with blocks" in err
    code, out, _ = run("features", "screenplay", tmp_path / "a.jsonl", "-o", tmp_path / "out", "--json")
    assert json.loads(out)["movies"][0]["status"] == "empty"


def test_a_row_that_is_no_screenplay_does_not_stop_the_others(run: Run, stdin: Run, tmp_path: Path) -> None:
    content = "\n".join(("{", ROW, '{"name": "e"}', ROW.replace("Lamp", "Two")))
    (tmp_path / "a.jsonl").write_text(content)
    for given in ((tmp_path / "a.jsonl",), ("-", "--from", "jsonl")):
        stdin(content.encode())  # type: ignore[call-arg]
        code, out, err = run("segment", *given, "-c", save_models(tmp_path)["scene"], "--json")
        assert (code, len(out.splitlines())) == (1, 2)
        assert ":1: expected a JSON object" in err
        assert "1 more lines are no screenplays either" in err


def test_names_of_rows_that_no_file_can_have(run: Run, tmp_path: Path) -> None:
    model = save_models(tmp_path)["scene"]
    rows = [ROW.replace("Lamp", name) for name in ("a\\u0000b", "x" * 300, "c/d")]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    code, _, err = run("segment", tmp_path / "a.jsonl", "-c", model, "-o", tmp_path / "out")
    assert (code, sorted(file.name for file in (tmp_path / "out").iterdir())) == (1, ["a_b.json", "c_d.json"])
    assert "File name too long" in err
    (tmp_path / "a.jsonl").write_text("\n".join(ROW.replace("Lamp", name) for name in ("a/b", "a_b")))
    code, _, err = run("segment", tmp_path / "a.jsonl", "-c", model, "-o", tmp_path / "out")
    assert (code, err.strip().endswith("expected movies of different names, got two of a/b, a_b")) == (2, True)
