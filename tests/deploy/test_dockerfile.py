"""The Dockerfile, read as a builder reads it, and the service it starts; no image is built."""

from __future__ import annotations

import fnmatch
import inspect
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from megaseg.cli.serve import serve

ROOT = Path(__file__).resolve().parents[2]


def steps() -> list[tuple[str, str]]:
    """Instruction and argument of every step, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def argument(instruction: str) -> str:
    """That of the last step of its kind, which is the one that counts."""
    return [value for name, value in steps() if name == instruction][-1]


def command() -> list[str]:
    return [*json.loads(argument("ENTRYPOINT")), *json.loads(argument("CMD"))]


def test_stages_share_a_python_that_the_package_takes() -> None:
    images = {value.split()[0] for name, value in steps() if name == "FROM"}
    (image,) = images
    found = re.fullmatch(r"python:3\.(\d+)-slim-bookworm", image)
    asked = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "requires-python" in line)
    least, above = re.findall(r"3\.(\d+)", asked)
    assert found is not None
    assert int(least) <= int(found[1]) < int(above)


def test_what_is_installed_is_what_is_copied_and_started() -> None:
    installs = [value for name, value in steps() if name == "RUN" and " install " in value]
    (pip,) = (value for value in installs if "pip install" in value)
    found = re.fullmatch(r"python -m venv (\S+) && \1/bin/pip install --no-cache-dir '\.\[(\w+)\]'", pip)
    assert found is not None
    prefix, extra = found.groups()
    assert re.search(rf"^{extra} = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"--from=build {prefix} {prefix}" in [value for name, value in steps() if name == "COPY"]
    assert command()[:2] == [f"{prefix}/bin/megaseg", "serve"]
    for value in set(installs) - {pip}:
        assert re.match(r"apt-get update && apt-get install -y --no-install-recommends \S", value)
        assert "rm -rf /var/lib/apt/lists/*" in value


def test_the_service_does_not_run_as_root_and_its_ports_are_told() -> None:
    assert any("useradd" in value and value.split()[-1] == argument("USER") for _, value in steps())
    ports = {inspect.signature(serve).parameters[name].default for name in ("http_port", "grpc_port")}
    assert set(map(int, argument("EXPOSE").split())) == ports


def outside(path: str) -> bool:
    """Whether the context leaves a path out."""
    patterns = (ROOT / ".dockerignore").read_text().split()
    parts = [path, *map(str, list(Path(path).parents)[:-1])]
    return any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts for pattern in patterns)


def test_the_context_has_every_source() -> None:
    needed = ["setup.py", "pyproject.toml", "README.md", "LICENSE", "CMakeLists.txt"]
    needed += [str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.*")]
    needed += [
        str(path.relative_to(ROOT)) for folder in ("engine", "kernels") for path in (ROOT / folder).rglob("*.py")
    ]
    assert not list(filter(outside, needed))


def test_the_context_has_nothing_that_git_ignores() -> None:
    assert [line for line in (ROOT / ".gitignore").read_text().split() if not outside(line.strip("/"))] == []


def test_its_service_starts() -> None:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    options = command()[2:]
    line = [sys.executable, "-m", "megaseg", "serve", *options, "--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as child:
        timer = threading.Timer(60, child.kill)
        timer.start()
        try:
            assert child.stderr is not None
            events = []
            for text in child.stderr:
                events.append(json.loads(text)["event"])
                if events[-1] == "serving":
                    break
            assert "serving" in events
        finally:
            child.kill()
            timer.cancel()
