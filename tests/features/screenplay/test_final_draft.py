"""Final Draft: typed paragraphs give the blocks of the same script as text, and XML is read without its dangers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from script_files import fdx

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import parse_screenplay

SCRIPT = (
    ("Transition", "FADE IN:"),
    ("Scene Heading", "INT. KITCHEN - DAY"),
    ("Action", "Anna waits by the stove."),
    ("Character", "Anna (O.S.)"),
    ("Parenthetical", "(quietly)"),
    ("Dialogue", "Not today, & not *ever*."),
    ("Character", "BEN"),
    ("Dialogue", "Why?"),
    ("Transition", "CUT TO:"),
    ("Scene Heading", "EXT. YARD - NIGHT"),
    ("Shot", "CLOSE ON THE LAMP"),
    ("General", "Rain."),
)
BLOCKS = [
    ("", "Anna waits by the stove."),
    ("ANNA", "(quietly) Not today, & not *ever*."),
    ("BEN", "Why?"),
    ("", "CLOSE ON THE LAMP"),
    ("", "Rain."),
]


def blocks(content: str | bytes, kind: str | None = "fdx") -> list[tuple[str, str]]:
    return [(block.speaker, block.text) for block in parse_screenplay(content, "m", "m.fdx", kind).blocks]


def paragraphs(body: str, more: str = "") -> str:
    return f"<FinalDraft><Content>{body}</Content>{more}</FinalDraft>"


@pytest.mark.parametrize("kind", [None, "fdx"])
def test_typed_paragraphs_become_blocks_and_scenes(kind: str | None) -> None:
    play = parse_screenplay(fdx(*SCRIPT), "m", kind=kind)
    assert [(block.speaker, block.text) for block in play.blocks] == BLOCKS
    assert play.labels is not None
    np.testing.assert_array_equal(play.labels, [0, 0, 1, 0, 1])
    assert play.num_scenes == 2


def test_the_same_script_as_text_gives_the_same() -> None:
    speeches = "ANNA (O.S.)\n(quietly)\nNot today, & not ever.\n\nBEN\nWhy?"
    text = f"INT. KITCHEN - DAY\n\nAnna waits by the stove.\n\n{speeches}\n\nCUT TO:\n\nEXT. YARD - NIGHT\n\n"
    text += "CLOSE ON THE LAMP\n\nRain."
    plain, typed = parse_screenplay(text, "m"), parse_screenplay(fdx(*SCRIPT).replace("*", ""), "m")
    assert plain.blocks == typed.blocks
    np.testing.assert_array_equal(plain.scenes, typed.scenes)


def test_runs_are_joined_and_only_a_paragraphs_own_count() -> None:
    body = """
    <Paragraph Type="Scene Heading" Number="12A">
      <SceneProperties Length="1/8" Page="1"><Summary><Paragraph><Text>He learns it.</Text></Paragraph></Summary>
      </SceneProperties><Text>INT. </Text><Text Style="AllCaps">hall</Text></Paragraph>
    <Paragraph Type="Action"><Text>He </Text><Text Style="Bold" RevisionID="2">runs</Text><Text>, </Text>
      <Text Style="Strikeout">falls, </Text><Text>stops.</Text>
      <ScriptNote ID="3"><Paragraph><Text>too long?</Text></Paragraph></ScriptNote></Paragraph>
    <Paragraph Type="Scene Heading" Number="13"><Text>OMITTED</Text><OmittedScene>
      <Paragraph Type="Scene Heading"><Text>EXT. SEA</Text></Paragraph>
      <Paragraph Type="Action"><Text>Waves.</Text></Paragraph></OmittedScene></Paragraph>
    """
    title = "<TitlePage><Content><Paragraph><Text>THE HALL</Text></Paragraph></Content></TitlePage>"
    header = "<HeaderAndFooter><Header><Paragraph><Text>Blue</Text></Paragraph></Header></HeaderAndFooter>"
    notes = "<ScriptNotes><ScriptNote><Paragraph><Text>a note</Text></Paragraph></ScriptNote></ScriptNotes>"
    assert blocks(paragraphs(body, title + header + notes)) == [("", "He runs, stops.")]


@pytest.mark.parametrize("wrap", ["{}", '<Paragraph StartsNewPage="No">{}</Paragraph>'])
def test_speeches_side_by_side(wrap: str) -> None:
    both = "".join(
        f'<Paragraph Type="Character"><Text>{name}</Text></Paragraph><Paragraph Type="Dialogue"><Text>{words}</Text>'
        "</Paragraph>"
        for name, words in (("ANNA", "Yes."), ("BEN", "No."))
    )
    assert blocks(paragraphs(wrap.format(f"<DualDialogue>{both}</DualDialogue>"))) == [("ANNA", "Yes."), ("BEN", "No.")]


def test_types_of_another_language_or_template() -> None:
    german = fdx(("Szenenüberschrift", "INNEN. KÜCHE"), ("Handlung", "Regen."), ("Figur", "ANNA"), ("Dialog", "Nein."))
    assert blocks(german) == [("", "Regen."), ("ANNA", "Nein.")]
    own = '<ElementSettings Type="Rolle"><Behavior PaginateAs="Character" ReturnKey="Dialogue"/></ElementSettings>'
    assert blocks(fdx(("Rolle", "ANNA"), ("Dialogue", "No."), more=own)) == [("ANNA", "No.")]
    below = fdx(("Character", "ANNA"), ("Parenthetical", "(low)"), ("My words", "No."), ("My action", "She goes."))
    assert blocks(below) == [("ANNA", "(low) No."), ("", "She goes.")]
    unknown = fdx(
        ("A", "INT. HALL"), ("B", "Rain falls."), ("C", "ANNA"), ("D", "(low)"), ("E", "No."), ("A", "EXT. SEA")
    )
    play = parse_screenplay(unknown.replace("EXT. SEA", "EXT. SEA</Text></Paragraph><Paragraph><Text>Waves."), "m")
    assert [(block.speaker, block.text) for block in play.blocks] == [
        ("", "Rain falls."),
        ("ANNA", "(low) No."),
        ("", "Waves."),
    ]
    assert play.num_scenes == 2


@pytest.mark.parametrize("kind", ["General", "Action", ""])
def test_a_heading_in_another_paragraph_opens_a_scene(kind: str) -> None:
    play = parse_screenplay(fdx(("Action", "Rain."), (kind, "EXT. SEA - DAY"), ("Action", "Waves.")), "m")
    assert play.num_scenes == 2
    assert len(play.blocks) == 2


def test_types_that_are_known_are_kept_where_nobody_speaks() -> None:
    assert blocks(fdx(("Action", "RAIN"), ("Action", "It falls."))) == [("", "RAIN"), ("", "It falls.")]
    assert blocks(fdx(("", "RAIN MAN"), ("", "It falls."))) == [("RAIN MAN", "It falls.")]


def test_a_heading_that_is_repeated_on_the_next_page_opens_none() -> None:
    again = (("Scene Heading", "INT. A - DAY (CONT'D)"), ("Action", "Rain."))
    play = parse_screenplay(fdx(("Scene Heading", "INT. A - DAY"), ("Action", "Wind."), *again), "m")
    assert (play.num_scenes, len(play.blocks)) == (1, 2)
    assert parse_screenplay(fdx(("Scene Heading", "INT. B"), ("Action", "Wind."), *again), "m").num_scenes == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings_of_the_declaration(encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}" standalone="no" ?>\n'
    assert blocks(fdx(("Action", "Élodie à la mer."), head=head).encode(encoding), None) == [("", "Élodie à la mer.")]


def test_a_wrong_declaration_and_a_namespace_do_no_harm() -> None:
    wrong = fdx(("Action", "Élodie."), head='<?xml version="1.0" encoding="UTF-16"?>').encode("utf-8")
    assert blocks(wrong, None) == [("", "Élodie.")]
    named = fdx(("Action", "Rain.")).replace("<FinalDraft ", '<FinalDraft xmlns="urn:x" ')
    assert blocks(named, None) == [("", "Rain.")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<!DOCTYPE FinalDraft [<!ENTITY a "b">]><FinalDraft/>', "without document type or entities"),
        ('<!DOCTYPE FinalDraft SYSTEM "http://localhost/x.dtd"><FinalDraft/>', "without document type or entities"),
        (fdx(("Action", "Rain."))[:-15], "expected well-formed XML, got .* line 3"),
        ("<FinalDraft>" + "<a>" * 1000, "elements more than 200 deep"),
        ("<FinalDraft/>", "with <Content>, got one without"),
        (fdx(), "found no action or dialogue: an empty template"),
        (fdx(("Scene Heading", "INT. A")), "found no action or dialogue: an empty template"),
        ("<celtx><a/></celtx>", "got XML .<celtx>."),
        ("INT. A\n\nRain.", "expected Final Draft's XML .*, got text"),
        ("", "expected well-formed XML"),
    ],
)
def test_what_is_no_script_is_named(content: str, message: str) -> None:
    with pytest.raises(FeatureError, match=rf"m\.fdx: .*{message}"):
        blocks(content)


def test_entities_are_refused_when_the_kind_is_not_given() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><FinalDraft>&b;</FinalDraft>'
    with pytest.raises(FeatureError, match="document type"):
        blocks(bomb, None)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml.common", None)
    with pytest.raises(UnsupportedError, match=r"m\.fdx: Final Draft files need .*megaseg\[text\]"):
        blocks(fdx(*SCRIPT))
