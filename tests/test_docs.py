"""The documents: links and paths exist, names import, and docs/benchmarks.md is what the committed rows give."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.movies2scenes import tables as movies2scenes  # noqa: E402
from benchmarks.pretraining import tables as pretraining  # noqa: E402
from benchmarks.report import markdown  # noqa: E402
from megaseg.cli import app  # noqa: E402

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# What has the form of a module and is none: formats of files, keys of metadata, files of the C interface.
FORMATS = (
    *("explanation", "segmentation", "stream", "compute_type", "config", "format", "metadata", "passes", "sha256"),
    *("version", "weights_sha256", "h", "hpp"),
)
FOLDERS = "benchmarks|csrc|docs|engine|examples|kernels|python|tests|tools"


def text_of(page: Path) -> str:
    """A page without the first cells of the changelog's tables, which have the names of before."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE) if page.name == "CHANGELOG.md" else text


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module holds."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", text_of(page))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_the_repository_exist(page: Path) -> None:
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text_of(page))
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_import(page: Path) -> None:
    names = set(re.findall(r"(?<![\w./:])megaseg(?:\.[A-Za-z_]\w*)+", text_of(page)))
    wrong = sorted(name for name in names if name.split(".")[1] not in FORMATS and not resolves(name))
    assert not wrong


@pytest.mark.parametrize("made", [pretraining, movies2scenes], ids=lambda made: made.PAGE.name)
def test_tables_are_the_committed_logs(made: ModuleType) -> None:
    assert made.PAGE.read_text(encoding="utf-8") == made.page()


def test_benchmarks_are_the_committed_rows() -> None:
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == markdown()


def test_the_readme_lists_every_command() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    group = typer.main.get_command(app)
    missing = [name for name in group.commands if not re.search(rf"`(megaseg )?{name}[ `]", table)]  # type: ignore[attr-defined]
    assert not missing
