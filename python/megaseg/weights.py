"""Files of the package ``megaseg_weights``: 25 MB of networks that only films and screenplays need.

A clone has the package beside this one; a release puts it into a wheel of its own (docs/release.md).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from megaseg.errors import UnsupportedError


def weights_file(name: str, *, extra: str) -> Path:
    """The file of that name; ``extra`` of megaseg is what brings it.

    Raises:
        UnsupportedError: the distribution is not installed.
    """
    spec = importlib.util.find_spec("megaseg_weights")
    if spec is None or spec.origin is None:
        raise UnsupportedError(f"{name}: expected the package megaseg-weights: pip install 'megaseg[{extra}]'")
    return Path(spec.origin).with_name(name)
