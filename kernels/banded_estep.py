"""The closed-form E-step of the synchronisation between shots and synopsis sentences (supplementary, Eq. 2)."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.kernels.options import threads
from megaseg.kernels.registry import Matrix, implementation

if TYPE_CHECKING:
    from torch import Tensor

Assignment = NDArray[np.bool_] | NDArray[np.uint8]


def reach(shots: int, sentences: int, band: float) -> int:
    """The band in whole numbers: Eq. 2's two inequalities are ``|i L_syn - j L_sh| < xi L_sh L_syn``, or its ceiling.

    ``band`` stands for the decimal that it prints as: 0.3 is 3/10. What is whole on paper is whole here.
    """
    above, below = _ratio(band)
    return min(-(-above * shots * sentences // below), shots * sentences)


@functools.lru_cache(maxsize=16)
def _ratio(band: float) -> tuple[int, int]:
    return Fraction(str(band)).as_integer_ratio()


@overload
def banded_estep(
    shots: Matrix,
    sentences: Matrix,
    *,
    threshold: float,
    band: float = ...,
    as_bits: bool = ...,
    target: str = ...,
    num_threads: int = ...,
) -> Assignment: ...
@overload
def banded_estep(
    shots: Sequence[Matrix],
    sentences: Sequence[Matrix],
    *,
    threshold: float,
    band: float = ...,
    as_bits: bool = ...,
    target: str = ...,
    num_threads: int = ...,
) -> list[Assignment]: ...
@overload
def banded_estep(
    shots: Tensor, sentences: Tensor, *, threshold: float, band: float = ..., as_bits: bool = ...
) -> Tensor: ...
@overload
def banded_estep(
    shots: Sequence[Tensor], sentences: Sequence[Tensor], *, threshold: float, band: float = ..., as_bits: bool = ...
) -> list[Tensor]: ...
def banded_estep(
    shots: Any,
    sentences: Any,
    *,
    threshold: float,
    band: float = 0.3,
    as_bits: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> Any:
    """W of one movie or of a list of them: ``w_ij = u_i . v_j >= threshold`` within the band, 0 outside.

    The band (i, j from 0): ``j < i L_syn / L_sh + xi L_syn`` and ``i < j L_sh / L_syn + xi L_sh``, xi = ``band``,
    decided exactly. shots u (L_sh, C) and sentences v (L_syn, C), as they are: normalise them for a cosine. float32, or
    bfloat16 as uint16 bits, which is multiplied as such with float32 sums. Result: booleans (L_sh, L_syn), or
    ``as_bits`` bits (L_sh, ceil(L_syn / 8)), as ``numpy.packbits(w, axis=1, bitorder="little")``. An empty band, or no
    similarity that reaches the threshold, is zeros. The batch shares ``num_threads``; 0 takes every core. Torch tensors
    run on their GPU, all movies in one launch, and give torch tensors there: float16, bfloat16 or float32.

    Raises:
        FeatureError: empty or unequal inputs, a similarity within the band that is not finite, band or threshold.
        UnsupportedError: dtype, target or number of threads. ValueError: rows that are not contiguous.
    """
    single = hasattr(shots, "ndim")
    us: list[Any] = [shots] if single else list(shots)
    vs: list[Any] = [sentences] if single else list(sentences)
    _check(us, vs, "" if single else "[{}]", threshold, band)
    if not us:
        return []
    if not isinstance(us[0], np.ndarray):
        on_device = _on_device(us, vs, threshold, band, as_bits)
        return on_device[0] if single else on_device
    sizes = [(len(u), len(v)) for u, v in zip(us, vs, strict=True)]
    out = [np.empty((rows, -(-columns // 8) if as_bits else columns), np.uint8) for rows, columns in sizes]
    run = implementation("banded_estep", us[0])
    reaches = [reach(*size, band) for size in sizes]
    options = {"reach": reaches, "threshold": threshold, "as_bits": as_bits}
    bad = run(us, vs, out, **options, target=target, num_threads=threads(num_threads))
    if bad:
        raise _not_finite("" if single else f" of movie {bad[0]}")
    result: list[Assignment] = [w if as_bits else w.view(np.bool_) for w in out]
    return result[0] if single else result


def _not_finite(where: str) -> FeatureError:
    return FeatureError(f"shots, sentences{where}: expected finite similarities, got some that are not")


def _on_device(us: list[Tensor], vs: list[Tensor], threshold: float, band: float, as_bits: bool) -> list[Tensor]:
    import torch

    from megaseg.kernels import torch_ops  # noqa: F401  (registers the op)

    shots, sentences = [len(u) for u in us], [len(v) for v in vs]
    bytes_of = [n * -(-m // 8) for n, m in zip(shots, sentences, strict=True)]
    reaches = [reach(n, m, band) for n, m in zip(shots, sentences, strict=True)]
    of, device = {torch.int32: (shots, sentences), torch.int64: (bytes_of,)}, us[0].device
    begins = [torch.tensor([0, *itertools.accumulate(x)], dtype=t, device=device) for t, xs in of.items() for x in xs]
    offsets = (begins[0], begins[1], torch.tensor(reaches, device=device), begins[2])
    sizes = (max(shots), max(sentences), sum(bytes_of))
    bits, bad = torch.ops.megaseg.banded_estep(torch.cat(us), torch.cat(vs), *offsets, *sizes, threshold)
    if bad.any():
        raise _not_finite(f" of movie {int(bad.nonzero()[0])}")
    result = [w.view(n, -1) for w, n in zip(bits.split(bytes_of), shots, strict=True)]
    if as_bits:
        return result
    lanes = torch.arange(8, dtype=torch.uint8, device=device)
    return [((w[:, :, None] >> lanes) & 1).flatten(1)[:, :m].bool() for w, m in zip(result, sentences, strict=True)]


def _check(us: list[Any], vs: list[Any], place: str, threshold: float, band: float) -> None:
    if not isinstance(band, Real) or not 0 < band < math.inf:
        raise FeatureError(f"band: expected a positive number, got {band}")
    if not isinstance(threshold, Real) or math.isnan(threshold):
        raise FeatureError(f"threshold: expected a number, got {threshold!r:.40}")
    if len(us) != len(vs):
        raise FeatureError(f"sentences: expected one array for each of {len(us)} movies, got {len(vs)}")
    for m, (u, v) in enumerate(zip(us, vs, strict=True)):
        for name, x in (("shots", u), ("sentences", v)):
            if x.ndim != 2 or 0 in x.shape:
                raise FeatureError(f"{name}{place.format(m)}: expected rows of one or more values, got shape {x.shape}")
        if u.shape[1] != v.shape[1] or u.dtype != v.dtype or u.dtype != us[0].dtype:
            expected = f"rows of {u.shape[1]} values of {us[0].dtype}, as shots have"
            got = f"{v.shape[1]} of {v.dtype} to shots of {u.dtype}"
            raise FeatureError(f"sentences{place.format(m)}: expected {expected}, got {got}")


_INFINITY = 0x7F800000  # the bits of float32's
_FLOATS = range(-_INFINITY - 1, _INFINITY + 1)  # places of all float32 in their order, from -inf to inf


def _float32(place: int) -> float:
    """Bits count magnitudes: 0.0 is at place 0, -0.0 at -1."""
    return float(np.uint32(place if place >= 0 else 0x7FFFFFFF - place).view(np.float32))


def density_threshold(
    shots: Sequence[Any], sentences: Sequence[Any], density: float, band: float = 0.3, *, target: str = ""
) -> float:
    """The lambda with which ``banded_estep`` keeps ``density`` (0 to 1) of all pairs inside the band.

    Of the N pairs of all movies together it keeps ``1 + floor(density (N - 1))``, and those that tie with the last of
    them: the quantile 1 - density, the higher neighbour where it falls between two. ``density`` stands for the decimal
    that it prints as.

    ``banded_estep`` itself counts, so that lambda and W come from the same sums, rounded alike: give it the same movies
    and ``target``. 32 calls, since they halve the range of float32.

    Raises:
        FeatureError: no movie, a density outside [0, 1], or as ``banded_estep``. UnsupportedError: as ``banded_estep``.
    """
    if not len(shots):
        raise FeatureError("shots: expected one movie or more, got none")
    if not isinstance(density, Real) or not 0 <= density <= 1:
        raise FeatureError(f"density: expected a share from 0 to 1, got {density}")

    def kept(threshold: float) -> int:
        found = banded_estep(shots, sentences, threshold=threshold, band=band, target=target)
        return sum(int(w.sum()) for w in found)

    above, below = _ratio(density)
    wanted = 1 + above * (kept(-math.inf) - 1) // below
    too_high = bisect.bisect_left(_FLOATS, True, key=lambda place: kept(_float32(place)) < wanted)
    return _float32(_FLOATS[too_high - 1])
