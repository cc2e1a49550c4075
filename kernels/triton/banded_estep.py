"""The closed-form E-step of the synchronisation between shots and synopsis sentences (supplementary, Eq. 2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"SHOTS": shots, "SENTENCES": 64, "INNER": inner, "num_warps": warps, "num_stages": stages}
        for shots, inner, warps, stages in (
            *((128, 64, 8, 4), (128, 64, 8, 3), (64, 64, 4, 4), (64, 128, 4, 3), (128, 128, 8, 3), (256, 64, 8, 3)),
            *((128, 64, 4, 4), (128, 64, 8, 5), (64, 64, 4, 6), (64, 64, 4, 3)),
        )
    )
}


@triton.jit
def _banded_estep(
    shots,  # [sum L_sh, size]
    sentences,  # [sum L_syn, size]
    shot_begin,  # [batch + 1] int32
    sentence_begin,  # [batch + 1] int32
    reach,  # [batch] int64
    out_begin,  # [batch] int64
    bits,  # [total] uint8
    bad,  # [batch] int32, zeros
    tiles,  # of sentences in the movie of most
    size,
    shot_stride,
    sentence_stride,
    threshold,
    SHOTS: tl.constexpr,
    SENTENCES: tl.constexpr,
    INNER: tl.constexpr,
):
    movie = tl.program_id(1)
    first_shot, first_sentence = tl.load(shot_begin + movie).to(tl.int64), tl.load(sentence_begin + movie).to(tl.int64)
    n = tl.load(shot_begin + movie + 1).to(tl.int64) - first_shot
    m = tl.load(sentence_begin + movie + 1).to(tl.int64) - first_sentence
    # Neighbouring programs share shots: they come from memory once, sentences from cache.
    top = (tl.program_id(0) // tiles).to(tl.int64) * SHOTS
    left = (tl.program_id(0) % tiles).to(tl.int64) * SENTENCES
    if (top >= n) | (left >= m):
        return
    bound = tl.load(reach + movie)
    shot, sentence, inner = top + tl.arange(0, SHOTS), left + tl.arange(0, SENTENCES), tl.arange(0, INNER)
    shot_inside, sentence_inside = (shot < n)[:, None], (sentence < m)[None, :]
    shot_at = shots + (first_shot + shot)[:, None] * shot_stride + inner[None, :]
    sentence_at = sentences + (first_sentence + sentence)[None, :] * sentence_stride + inner[:, None]
    # |i m - j n| < reach somewhere in the tile? Otherwise nothing of it is read, and its flags are zeros.
    right, bottom = tl.minimum(left + SENTENCES, m) - 1, tl.minimum(top + SHOTS, n) - 1
    near = (top * m - right * n < bound) & (left * n - bottom * m < bound)
    similarity = tl.zeros((SHOTS, SENTENCES), tl.float32)
    for begin in range(0, tl.where(near, size, 0), INNER):
        within = inner < size - begin
        u = tl.load(shot_at + begin, mask=shot_inside & within[None, :], other=0.0)
        v = tl.load(sentence_at + begin, mask=sentence_inside & within[:, None], other=0.0)
        similarity = tl.dot(u, v, similarity, input_precision="ieee")
    low, high, place = (shot * m - bound)[:, None], (shot * m + bound)[:, None], (sentence * n)[None, :]
    inside = (low < place) & (place < high) & shot_inside & sentence_inside
    infinite = inside & ~(tl.abs(similarity) < float("inf"))
    tl.store(bad + movie, 1, mask=tl.max(infinite.to(tl.int32)) > 0)
    flags = (inside & (similarity >= threshold)).to(tl.int32)
    flags = tl.reshape(flags, (SHOTS, SENTENCES // 8, 8)) << tl.arange(0, 8)[None, None, :]
    byte, width = left // 8 + tl.arange(0, SENTENCES // 8), (m + 7) // 8
    to = bits + tl.load(out_begin + movie) + shot[:, None] * width + byte[None, :]
    tl.store(to, tl.sum(flags, axis=2).to(tl.uint8), mask=shot_inside & (byte < width)[None, :])


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
    *,
    configuration: Mapping[str, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """W of a batch of movies in bits: ``w_ij = u_i . v_j >= threshold`` where ``|i L_syn - j L_sh| < reach``, else 0.

    shots u (sum L_sh, C) and sentences v (sum L_syn, C), of one type, rows may be strided; their movies' offsets
    shot_begin and sentence_begin (batch + 1,) int32; reach (batch,) and out_begin (batch + 1,) int64; ``longest`` and
    ``most`` are the largest L_sh and L_syn. Results: bits (total,) uint8, (L_sh, ceil(L_syn / 8)) little-endian a movie
    from ``out_begin[b]`` on; bad (batch,) int32, 1 where a similarity within the band is not finite. Sums are float32.
    """
    batch = len(shot_begin) - 1
    key = "float32" if shots.dtype == torch.float32 else ""
    chosen = dict(configuration or configurations.configuration("banded_estep", configurations.capability(), key))
    chosen["SENTENCES"] = min(chosen["SENTENCES"], max(16, triton.next_power_of_2(most)))
    bits = torch.empty(total, dtype=torch.uint8, device=shots.device)
    bad = torch.zeros(batch, dtype=torch.int32, device=shots.device)
    tiles = triton.cdiv(most, chosen["SENTENCES"])
    _banded_estep[(triton.cdiv(longest, chosen["SHOTS"]) * tiles, batch)](
        shots,
        sentences,
        shot_begin,
        sentence_begin,
        reach,
        out_begin,
        bits,
        bad,
        tiles,
        shots.shape[1],
        shots.stride(0),
        sentences.stride(0),
        threshold,
        enable_fp_fusion=True,
        **chosen,
    )
    return bits, bad
