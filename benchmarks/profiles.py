"""``python -m benchmarks.profiles``: the tables of docs/performance.md, measured on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date

from benchmarks.inputs import ACT, SCENE, features_of, random_checkpoint
from benchmarks.rows import ROOT, environment
from megaseg import _C
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.profile import Entry, Profile, profile
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.model.checkpoint import ModelConfig

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- profiles: python -m benchmarks.profiles -->", "<!-- end of profiles -->"
CASES: tuple[tuple[str, ModelConfig, int, tuple[str, ...]], ...] = (
    ("scene model, 256 windows", SCENE, 256, ("float32", "bfloat16", "int8")),
    ("scene model, one window", SCENE, 1, ("bfloat16",)),
    ("act model, 1,200 shots", ACT, 1200, ("bfloat16",)),
    ("act model, 3,000 shots", ACT, 3000, ("bfloat16", "int8")),
)
_LEAST_SHARE = 0.005  # of the time: ops of less are one row


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    made = "\n\n".join(sections())
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", encoding="utf-8")


def sections() -> Iterator[str]:
    """The machine, then a table a case, type and target."""
    machine = environment()
    yield f"{machine['cpu']}, {machine['cores']} cores, {date.today():%Y-%m-%d}."
    for target in targets():
        for title, config, shots, types in CASES:
            for kind in types:
                if kind not in _C.compute_types(target):
                    continue
                print(target, kind, title, file=sys.stderr)
                yield table(f"### {title}, {kind}, target {target}", shots, measured(config, shots, kind, target))


def targets() -> list[str]:
    """The fastest target; beside tiles also the one below them, which most machines run."""
    offered = _C.available_targets()
    return offered[-1:] + offered[-2:-1] * (offered[-1] == "amx")


def measured(config: ModelConfig, shots: int, kind: str, target: str) -> Profile:
    backend = NativeBackend.from_checkpoint(random_checkpoint(config), compute_type=kind, target=target)
    return profile(backend, [Excerpt.whole(features_of(config, shots))], repeats=5 if shots > 1 else 50)


def table(title: str, shots: int, found: Profile) -> str:
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in found.ceilings.products.items())
    lines = [
        title,
        "",
        f"{found.seconds * 1e3:,.2f} ms, {shots / found.seconds:,.0f} shots/s. Ceilings: {rates}; reading "
        f"{found.ceilings.memory[-1][1] / 1e9:,.0f} GB/s.",
        "",
        "| op | ms | share | GFLOP/s | GB/s | of ceiling |",
        "|---|---|---|---|---|---|",
    ]
    entries = found.by_op()
    long = [entry for entry in entries if entry.seconds >= _LEAST_SHARE * found.seconds]
    lines += [row(entry, found) for entry in long]
    rest = found.seconds - sum(entry.seconds for entry in long)
    lines.append(f"| all others, and between steps | {rest * 1e3:,.2f} | {rest / found.seconds:.1%} | | | |")
    least = sum(entry.least for entry in entries) / found.seconds
    lines.append(f"| all | {found.seconds * 1e3:,.2f} | 100% | | | {least:.0%} |")
    return "\n".join(lines)


def row(entry: Entry, found: Profile) -> str:
    products = f"{entry.operations / entry.seconds / 1e9:,.0f}" if entry.operations else ""
    return (
        f"| {entry.op} | {entry.seconds * 1e3:,.2f} | {entry.seconds / found.seconds:.1%} | {products} | "
        f"{entry.bytes / entry.seconds / 1e9:,.1f} | {entry.of_ceiling:.0%} |"
    )


if __name__ == "__main__":
    main()
