"""Final Draft's .fdx: XML whose paragraphs name their kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.screenplay.script.headings import is_heading
from megaseg.features.screenplay.script_text import Parsed, parse_script
from megaseg.features.screenplay.typed_paragraphs import (
    CUE,
    DROPPED,
    HEADING,
    PARENTHETICAL,
    SPEECH,
    UNKNOWN,
    TypedParagraph,
    assemble,
)

# Types of Final Draft's own templates and of those in other languages, in small letters.
_TYPES = {
    "action": UNKNOWN,
    "general": UNKNOWN,
    "shot": UNKNOWN,
    "cast list": UNKNOWN,
    "scene heading": HEADING,
    "character": CUE,
    "parenthetical": PARENTHETICAL,
    "dialogue": SPEECH,
    "dialog": SPEECH,
    "singing": SPEECH,
    "lyrics": SPEECH,
    "lyric": SPEECH,
    "transition": DROPPED,
    "new act": DROPPED,
    "end of act": DROPPED,
    "show/ep. title": DROPPED,
    "summary": DROPPED,
    "outline body": DROPPED,
    "intitulé de scène": HEADING,
    "intitulé": HEADING,
    "en-tête de scène": HEADING,
    "personnage": CUE,
    "parenthèse": PARENTHETICAL,
    "didascalie": PARENTHETICAL,
    "encabezado de escena": HEADING,
    "encabezado": HEADING,
    "personaje": CUE,
    "paréntesis": PARENTHETICAL,
    "acotación": PARENTHETICAL,
    "diálogo": SPEECH,
    "transición": DROPPED,
    "szenenüberschrift": HEADING,
    "szenenkopf": HEADING,
    "figur": CUE,
    "charakter": CUE,
    "parenthese": PARENTHETICAL,
    "klammer": PARENTHETICAL,
    "übergang": DROPPED,
    "intestazione scena": HEADING,
    "personaggio": CUE,
    "parentetica": PARENTHETICAL,
    "dialogo": SPEECH,
    "transizione": DROPPED,
    "cabeçalho de cena": HEADING,
    "cabeçalho": HEADING,
    "personagem": CUE,
    "transição": DROPPED,
}
_UNTYPED = "untyped"  # a paragraph without a type, or of one that no table knows
_DEEPEST = 200  # elements within one another


def parse_final_draft(text: str, where: str) -> Parsed:
    """(scene number, speaker or "", words) of each block of a script; ``where`` stands for it in messages.

    Title page, headers, notes, omitted scenes and struck-out words are left out.

    Raises:
        FeatureError: broken XML, XML with a document type or entities, or of another program.
        UnsupportedError: the extra ``text`` is not installed.
    """
    root = _root(text, where)
    if _tag(root) != "FinalDraft":
        raise FeatureError(f"{where}: expected a Final Draft script (<FinalDraft>), got XML (<{_tag(root):.40}>)")
    content = next((child for child in root if _tag(child) == "Content"), None)
    if content is None:
        raise FeatureError(f"{where}: expected a Final Draft script with <Content>, got one without")
    parsed = _parsed(list(_paragraphs(content, _own_types(root))))
    if not parsed:
        raise FeatureError(f"{where}: expected a Final Draft script, found no action or dialogue: an empty template?")
    return parsed


def _parsed(paragraphs: list[TypedParagraph]) -> Parsed:
    """Blocks by the paragraphs' kinds; where no kind is a cue and some types are not known, by their words."""
    kinds = {paragraph.kind for paragraph in paragraphs}
    if CUE in kinds or _UNTYPED not in kinds:
        return assemble(_beside_known(paragraphs))
    text = ""
    for kind, words in paragraphs:
        line = " ".join(words.split())
        above = text.rpartition("\n\n")[2].rpartition("\n")[2]
        speech = kind != HEADING and line != line.upper() and _may_be_cue(above)
        text += ("\n" if speech else "\n\n") + ("." if kind == HEADING and not is_heading(line) else "") + line
    return parse_script(text)


def _beside_known(paragraphs: list[TypedParagraph]) -> Iterator[TypedParagraph]:
    """Paragraphs whose types are known: what stands right below a cue is its speech, else words decide."""
    above = ""
    for kind, words in paragraphs:
        known = kind if kind != _UNTYPED else SPEECH if above in (CUE, PARENTHETICAL) else UNKNOWN
        yield TypedParagraph(known, words)
        above = known


def _may_be_cue(line: str) -> bool:
    """Whether a line that stands alone in capitals may name a speaker, or is a parenthetical below one."""
    return (line.isupper() and len(line) <= 40 and line[-1] not in ":.!?" and not is_heading(line)) or (
        line.startswith("(") and line.endswith(")")
    )


def _root(text: str, where: str) -> Any:
    """The outermost element; entities and document types are refused, nothing is fetched."""
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser, ParseError
    except ImportError as error:
        raise UnsupportedError(f"{where}: Final Draft files need {error.name}: pip install 'megaseg[text]'") from error
    parser = DefusedXMLParser(target=_Bounded(), encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(text.lstrip().encode("utf-8"))
        return parser.close()
    except DefusedXmlException as error:
        raise FeatureError(f"{where}: expected XML without document type or entities, got a <!DOCTYPE>") from error
    except ParseError as error:
        raise FeatureError(f"{where}: expected well-formed XML, got {error}") from error
    except (ValueError, UnicodeError) as error:
        raise FeatureError(f"{where}: expected a Final Draft script, got {error}") from error


def _tag(element: Any) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _own_types(root: Any) -> dict[str, str]:
    """Types of the script's own template, in small letters: the kind of the element that each is laid out as."""
    own = {}
    for settings in root:
        if _tag(settings) == "ElementSettings":
            behaviour = next((child for child in settings if _tag(child) == "Behavior"), None)
            known = _TYPES.get("" if behaviour is None else behaviour.get("PaginateAs", "").lower())
            if known is not None:
                own[settings.get("Type", "").strip().lower()] = known
    return own


def _paragraphs(content: Any, own: dict[str, str]) -> Iterator[TypedParagraph]:
    for element in content:
        if _tag(element) == "DualDialogue":
            yield from _paragraphs(element, own)
        elif _tag(element) == "Paragraph":
            words = _words(element)
            name = (element.get("Type") or "").strip().lower()
            kind = _TYPES.get(name, own.get(name, DROPPED if name.startswith("outline ") else _UNTYPED))
            if words:
                yield TypedParagraph(DROPPED if re.fullmatch(r"\W*omitted\W*", words, re.I) else kind, words)
            for dual in element:
                if _tag(dual) == "DualDialogue":
                    yield from _paragraphs(dual, own)


def _words(paragraph: Any) -> str:
    """The text of a paragraph's own runs, joined; those of notes and omitted scenes in it are further down."""
    runs = (run for run in paragraph if _tag(run) == "Text" and "Strikeout" not in run.get("Style", ""))
    return "".join("".join(run.itertext()) for run in runs).strip()


class _Bounded:
    """Builds the tree of elements up to a depth, so that no walk down it is too deep."""

    def __init__(self) -> None:
        from xml.etree.ElementTree import TreeBuilder

        self._builder, self._depth = TreeBuilder(), 0
        self.end, self.data = self._end, self._builder.data

    def start(self, tag: str, attributes: dict[str, str]) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"elements more than {_DEEPEST} deep")
        return self._builder.start(tag, attributes)

    def _end(self, tag: str) -> Any:
        self._depth -= 1
        return self._builder.end(tag)

    def close(self) -> Any:
        return self._builder.close()
