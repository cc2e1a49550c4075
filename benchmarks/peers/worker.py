"""A subject in a process of its own, driven by JSON lines: {"do": ...} in, one answer out for each."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks.peers.encoders import ENCODERS
from benchmarks.peers.long_range import WINDOW_SUBJECTS
from benchmarks.peers.subjects import OnnxGraph, OnnxRuntime, OpenVino, Ours, Peer, Unsupported
from benchmarks.peers.torch_subjects import AheadOfTime, Compiled, ExecuTorch, Torch

SUBJECTS: dict[str, type[Peer]] = {
    "megaseg": Ours,
    "torch eager": Torch,
    "torch.compile": Compiled,
    "AOTInductor": AheadOfTime,
    "ONNX Runtime": OnnxRuntime,
    "ONNX Runtime on our graph": OnnxGraph,
    "OpenVINO": OpenVino,
    "ExecuTorch": ExecuTorch,
}


def answer(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "prepare":
        peer.prepare(request["batch"], request["mode"])
        peer.run()  # warm: compiles, allocates
        return {"items": peer.items, "facts": peer.facts}
    if request["do"] == "run":
        if request["times"] > 1:
            peer.run()  # short ones: the other subjects had the caches
        return {"seconds": [timed(peer) for _ in range(request["times"])]}
    if request["do"] == "logits":
        np.save(request["path"], peer.logits())
        return {"facts": peer.facts}
    with open("/proc/self/status") as status:
        return {"peak": next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024}


def timed(peer: Peer) -> float:
    start = time.perf_counter()
    peer.run()
    return time.perf_counter() - start


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr, not between the replies
    peer: Peer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if peer is None:
                kinds = {"texts": ENCODERS, "windows": WINDOW_SUBJECTS}
                known = next((own for key, own in kinds.items() if key in request), SUBJECTS)
                peer, reply = known[request["subject"]](request), {}
            else:
                reply = answer(peer, request)
        except Unsupported as problem:
            reply = {"unsupported": str(problem)}
        except ImportError as problem:
            reply = {"unsupported": f"not installed ({problem.name}): pip install 'megaseg[bench]'"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
