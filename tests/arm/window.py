"""Writes what tests/arm/count.sh runs: the scene preset at a quarter of its width, compiled by target and type.

python tests/arm/window.py FOLDER, on the emulated processor. The graph is rewritten only where a name says so: all
others do the multiplications of the plain loops, which window.plain.float32.steps lists.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import random_checkpoint

from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.family import graph_of
from megaseg.engine.model.mega import MegaConfig

# megaseg.models.presets.SCENE, whose package needs torch, but for hidden_size, ffn_size and num_heads: 768, 3072, 12.
CONFIG = MegaConfig(
    task="scene",
    modalities=(Modality("bassl", 2048), Modality("place", 2048), Modality("clip", 512)),
    max_length=17,
    num_bottleneck=2,
    hidden_size=192,
    ffn_size=768,
    num_heads=3,
    num_unimodal_layers=2,
    num_fusion_layers=1,
    num_classes=2,
)
COMPILED = (
    ("portable", "float32"),
    ("neon", "float32"),
    ("neon_dotprod", "int8"),
    ("neon_i8mm", "int8"),
    ("neon_bf16", "bfloat16"),
    ("neon_bf16", "int8"),
)


def rows_of(node: Node) -> int:
    """Of one window."""
    own = {"shots": 1, "latents": CONFIG.max_length, "sequences": 1}
    return own.get(node.space, node.prefix + (CONFIG.max_length if node.space == "tokens" else 0))


def steps(graph: Graph) -> Iterator[tuple[str, int, int, int, int]]:
    """Ops that compute; what moves rows is left out of the plain loops."""
    for node in graph.nodes():
        rows, read = rows_of(node), node.inputs[0] if node.inputs else node
        if node.op == "linear":
            yield "linear", rows, node.width, read.width, int(node.attributes["activation"] == "gelu")
            if len(node.inputs) > 1:  # a residual
                yield "add", rows, node.width, 0, 0
        elif node.op == "attention":
            yield "attention", rows, rows_of(node.inputs[1]), node.attributes["heads"], node.width
        elif node.op == "layer_norm":
            yield "layer_norm", rows, node.width, 0, 0
        elif node.op in ("add_table", "add"):
            yield from [("add", rows, node.width, 0, 0)] * max(1, len(node.inputs) - 1)


def write(folder: Path) -> None:
    checkpoint = random_checkpoint(CONFIG)
    for target, kind in COMPILED:
        path = folder / f"window.{target}.{kind}.mseg"
        compile_checkpoint(checkpoint, path, compute_type=kind, target=target, passes=())
    for target, kind in (("neon", "float32"), ("neon_i8mm", "int8")):
        path = folder / f"window.{target}.{kind}.rewritten.mseg"
        compile_checkpoint(checkpoint, path, compute_type=kind, target=target, passes=tuple(PASSES))
    lines = [" ".join(map(str, step)) for step in steps(graph_of(checkpoint))]
    (folder / "window.plain.float32.steps").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
