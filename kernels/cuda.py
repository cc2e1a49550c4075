"""The CUDA C++ kernels of ``megaseg._C`` on torch tensors: tensor cores from sm_80 on, float16 and bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaseg import _C
from megaseg.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

HEAD_SIZES = (32, 64, 128)
_TYPES = ("float16", "bfloat16")
_CHUNK = 8  # elements in 16 bytes, which a copy moves


def offers(op: str, dtype: str, size: int, capability: tuple[int, int]) -> bool:
    """Whether this build has ``op`` for a type, the size of a head (E-step: of a row), and a GPU's compute capability.

    ``dtype`` as "float16". An op that no kernel here does is not offered.
    """
    return not _missing(op, dtype, size, capability)


def bottleneck_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    begin: Tensor,
    heads: int,
    bottlenecks: int,
    longest: int,
    latent_queries: bool = False,
) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` per sequence and head; no matrix of scores is ever whole.

    q, k, v (batch * bottlenecks + latents, heads * d): every sequence's bottleneck tokens first, then its latents
    ``begin[b]`` to ``begin[b + 1]``, (batch + 1,) int32, ``longest`` at most; rows may be strided. With
    ``latent_queries`` q and the result hold no bottleneck tokens. Scores, softmax and sums are float32. Source:
    supplementary, Table 1a; the online softmax of FlashAttention (Dao et al., 2022).

    Raises:
        UnsupportedError: a type, head size or GPU that the kernels do not offer, or a build without CUDA.
        RuntimeError: what CUDA says went wrong.
    """
    import torch

    size = q.shape[1] // heads
    dtype = _require("bottleneck_attention", q, size)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    q, k, v = (_aligned(x) for x in (q, k, v))
    with torch.cuda.device(q.device):
        _C.cuda_bottleneck_attention(
            dtype=dtype,
            q=_rows(q),
            k=_rows(k),
            v=_rows(v),
            out=_rows(out),
            begin=begin.data_ptr(),
            batch=len(begin) - 1,
            heads=heads,
            head_size=size,
            bottlenecks=bottlenecks,
            longest=longest,
            latent_queries=latent_queries,
            stream=torch.cuda.current_stream().cuda_stream,
        )
    return out


def banded_estep(
    shots: Tensor,
    sentences: Tensor,
    shot_begin: Tensor,
    sentence_begin: Tensor,
    reach: Tensor,
    out_begin: Tensor,
    longest: int,
    most: int,
    total: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """W of a batch of movies in bits: ``w_ij = u_i . v_j >= threshold`` where ``|i L_syn - j L_sh| < reach``, else 0.

    shots u (sum L_sh, C) and sentences v (sum L_syn, C), C a multiple of 8, rows may be strided; their movies' offsets
    shot_begin and sentence_begin (batch + 1,) int32; reach (batch,) and out_begin (batch + 1,) int64; ``longest`` and
    ``most`` are the largest L_sh and L_syn. Results: bits (total,) uint8, a movie's (L_sh, ceil(L_syn / 8))
    little-endian from ``out_begin[b]`` on; bad (batch,) int32, 1 where a similarity within the band is not finite.
    Source: supplementary, Eq. 2.

    Raises:
        UnsupportedError: a type, row size or GPU that the kernel does not offer, or a build without CUDA.
        RuntimeError: what CUDA says went wrong.
    """
    import torch

    size = shots.shape[1]
    dtype = _require("banded_estep", shots, size)
    bits = torch.empty(total, dtype=torch.uint8, device=shots.device)
    bad = torch.empty(len(reach), dtype=torch.int32, device=shots.device)
    shots, sentences = _aligned(shots), _aligned(sentences)
    with torch.cuda.device(shots.device):
        _C.cuda_banded_estep(
            dtype=dtype,
            shots=_rows(shots),
            sentences=_rows(sentences),
            shot_begin=shot_begin.data_ptr(),
            sentence_begin=sentence_begin.data_ptr(),
            reach=reach.data_ptr(),
            out_begin=out_begin.data_ptr(),
            bits=bits.data_ptr(),
            bad=bad.data_ptr(),
            batch=len(reach),
            size=size,
            longest=longest,
            total=total,
            threshold=threshold,
            stream=torch.cuda.current_stream().cuda_stream,
        )
    return bits, bad


def _missing(op: str, dtype: str, size: int, capability: tuple[int, int]) -> str:
    """What keeps ``op`` from running, expected and got; empty where nothing does."""
    if not _C.cuda_architectures():
        return "expected a build with CUDA, got one without: build where nvcc is, with CMAKE_ARGS=-DMEGASEG_CUDA=ON"
    if op not in ("bottleneck_attention", "banded_estep"):
        return "expected bottleneck_attention or banded_estep"
    if dtype not in _TYPES:
        return f"expected {' or '.join(_TYPES)}, got {dtype}"
    if op == "bottleneck_attention" and size not in HEAD_SIZES:
        return f"expected a head size of {', '.join(map(str, HEAD_SIZES))}, got {size}"
    if size % _CHUNK:
        return f"expected rows of a multiple of {_CHUNK} values, got {size}"
    if capability < (8, 0):
        return f"expected a GPU of compute capability 8.0 or later, got {'.'.join(map(str, capability))}"
    return ""


def _require(op: str, x: Tensor, size: int) -> str:
    """The name of x's type, if ``op`` runs on it."""
    import torch

    if not x.is_cuda and _C.cuda_architectures():
        raise UnsupportedError(f"cuda {op}: expected tensors of a CUDA device, got {x.device}")
    dtype = str(x.dtype).removeprefix("torch.")
    missing = _missing(op, dtype, size, torch.cuda.get_device_capability(x.device) if x.is_cuda else (0, 0))
    if missing:
        raise UnsupportedError(f"cuda {op}: {missing}")
    return dtype


def _aligned(x: Tensor) -> Tensor:
    """Rows that each begin at a multiple of 16 bytes: as they are, or a copy."""
    import torch

    if x.data_ptr() % 16 == 0 and x.stride(0) % _CHUNK == 0 and x.stride(1) == 1:
        return x
    return x.clone(memory_format=torch.contiguous_format)


def _rows(x: Tensor) -> tuple[int, int]:
    """Address, and elements from row to row."""
    return x.data_ptr(), x.stride(0)
