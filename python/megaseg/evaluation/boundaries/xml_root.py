"""XML of other programs, read without fetching or expanding anything."""

from __future__ import annotations

from typing import Any

from megaseg.errors import FeatureError, UnsupportedError


def root_of(text: str) -> Any:
    """The outermost element.

    Raises:
        FeatureError: no well-formed XML, or one with entities of its own.
        UnsupportedError: the extra ``text`` is not installed.
    """
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError as error:
        raise UnsupportedError(f"XML needs {error.name}: pip install 'megaseg[text]'") from error
    try:
        return fromstring(text.encode("utf-8"))
    except DefusedXmlException as error:
        raise FeatureError("expected XML without entities of its own, got some") from error
    except (ParseError, ValueError) as error:
        raise FeatureError(f"expected well-formed XML, got: {error}") from error
