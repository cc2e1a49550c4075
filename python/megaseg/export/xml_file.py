"""Elements of XML with every text escaped."""

from __future__ import annotations

from xml.etree import ElementTree

from megaseg.export.text import characters

Element = ElementTree.Element


def element(tag: str, *inside: Element | str | int, **attributes: str | int) -> Element:
    """An element with attributes and, in order, its text and its children."""
    made = Element(tag, {name: _text(value) for name, value in attributes.items()})
    for one in inside:
        if isinstance(one, Element):
            made.append(one)
        else:
            made.text = _text(one)
    return made


def _text(value: str | int) -> str:
    """A text as XML reads it back: every break is a line feed."""
    if isinstance(value, int):
        return str(value)
    return characters(value).replace("\r\n", "\n").replace("\r", "\n")


def document(root: Element, doctype: str | None = None) -> bytes:
    """The whole file in UTF-8, indented."""
    ElementTree.indent(root, " ")
    head = '<?xml version="1.0" encoding="UTF-8"?>\n' + (f"<!DOCTYPE {doctype}>\n" if doctype else "")
    return (head + ElementTree.tostring(root, encoding="unicode") + "\n").encode()
