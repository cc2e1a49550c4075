"""Coverage-guided fuzzing of one target: ``python tests/fuzz/run.py TARGET SECONDS``. A finding stops it with code 77.

Findings (``crash-*``, ``timeout-*``) are left in ``tests/fuzz/corpus/TARGET/`` to be kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
TRACED = ["megaseg", "numpy.lib", "zipfile", "json", "pypdf"]
with atheris.instrument_imports(include=TRACED, enable_loader_override=False):
    from fuzz.seeds import seeds
    from fuzz.targets import CORPUS, TARGETS


def main(target: str, seconds: str) -> None:
    findings = CORPUS / target
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(target)):
            Path(folder, f"seed-{number}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=16384", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={findings}/", folder, str(findings)], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
