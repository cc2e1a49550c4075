"""Sentence vectors of all-MiniLM-L6-v2; skipped where the extra ``text`` is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megaseg.errors import UnsupportedError
from megaseg.features.text.encoder import SentenceEncoder

TEXTS = ["A car stops in the rain.", "An automobile halts during a storm.", "She loves him.", "", "word " * 400]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    try:
        return SentenceEncoder()
    except UnsupportedError as error:
        pytest.skip(str(error))


def test_vectors_are_unit_and_mean_what_they_say(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]


def test_a_vector_does_not_depend_on_its_batch(encoder: SentenceEncoder) -> None:
    together, counts = encoder.encode(TEXTS), []
    alone = np.concatenate([encoder.encode([text], counts.append) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert counts == [1] * 5


def test_bfloat16_is_close(encoder: SentenceEncoder) -> None:
    coarse = SentenceEncoder(compute_type="bfloat16").encode(TEXTS)
    assert ((coarse * encoder.encode(TEXTS)).sum(1) > 0.999).all()


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="int8"):
        SentenceEncoder(compute_type="int8")
    with pytest.raises(UnsupportedError, match=r"model\.safetensors|tokenizers|torch"):
        SentenceEncoder(tmp_path)
