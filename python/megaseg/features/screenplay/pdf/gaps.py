"""Wide gaps within a line of a page: pypdf would join a scene number, its heading and a revision mark to one run.

Where a page moves on within a line by more than words do, a new text object is begun, which pypdf tells apart.
"""

from __future__ import annotations

from typing import Any

_LETTER = 0.55  # width of a letter by the size of its font: Courier has 0.6
_WIDE = 1.6  # gap, by the size of the font, that no space between words has
Matrix = tuple[float, float, float, float, float, float]
_UNIT: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def split_at_gaps(page: Any) -> None:
    """Rewrite a page's content, in memory, so that runs with a wide gap between them are of different text objects."""
    from pypdf.generic import NameObject

    content = page.get_contents()
    if content is None:
        return
    walk = _Walk()
    changed: list[tuple[Any, bytes]] = []
    for operands, operator in content.operations:
        changed += walk.step(operands, operator)
    if len(changed) != len(content.operations):
        content.operations = changed
        page[NameObject("/Contents")] = content


class _Walk:
    """The place on the page along its operators: matrix of the line, and where the last run ends."""

    def __init__(self) -> None:
        self._line: Matrix = _UNIT
        self._leading, self._size = 0.0, 1.0
        self._begin: tuple[float, float] | None = None  # of the last run, in the text object
        self._end = 0.0

    def step(self, operands: Any, operator: bytes) -> list[tuple[Any, bytes]]:
        """The operators that take the place of one."""
        here = (operands, operator)
        numbers = [float(value) for value in operands if isinstance(value, (int, float))]
        if operator == b"BT":
            self._line, self._begin = _UNIT, None
        elif operator == b"Tf" and numbers:
            self._size = numbers[-1]
        elif operator == b"TL" and numbers:
            self._leading = numbers[0]
        elif operator in (b"Td", b"TD", b"Tm", b"T*"):
            self._move(operator, numbers)
            if self._is_gap():
                self._begin = None
                return [([], b"ET"), ([], b"BT"), (self._matrix(), b"Tm")]
        elif operator in (b"Tj", b"TJ"):
            self._show(operands[0] if len(operands) else b"")
        return [here]

    def _move(self, operator: bytes, numbers: list[float]) -> None:
        if operator == b"Tm":
            if len(numbers) == 6:
                self._line = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
            return
        x, y = (0.0, -self._leading) if operator == b"T*" else (*numbers, 0.0, 0.0)[:2]
        if operator == b"TD":
            self._leading = -y
        a, b, c, d, e, f = self._line
        self._line = (a, b, c, d, x * a + y * c + e, x * b + y * d + f)

    def _matrix(self) -> list[Any]:
        from pypdf.generic import FloatObject

        return [FloatObject(value) for value in self._line]

    def _is_gap(self) -> bool:
        """Whether a move within a line goes far ahead of the last run's end, or back before its beginning."""
        if self._begin is None:
            return False
        x, y = self._line[4:]
        em = abs(self._size * self._line[0]) or 1.0
        if abs(y - self._begin[1]) > 0.3 * em:
            return False
        return x - self._end > _WIDE * em or x < self._begin[0] - em

    def _show(self, shown: Any) -> None:
        parts = shown if isinstance(shown, list) else [shown]
        em = abs(self._size * self._line[0])
        letters = sum(_letters(part) for part in parts)
        shift = sum(float(part) for part in parts if isinstance(part, (int, float))) / 1000
        self._begin = (self._line[4], self._line[5])
        self._end = self._line[4] + em * max(0.0, letters * _LETTER - shift)


def _letters(part: Any) -> int:
    """Letters of a string, which has one or two bytes each."""
    if isinstance(part, bytes):
        return len(part) - part.count(0)
    return len(part) - part.count("\0") if isinstance(part, str) else 0
