"""Scripts in text form: tables of what people write, and of the scenes, speakers and words that come of it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from megaseg.features.screenplay.script_text import parse_script

A = "INT. A - DAY\n\n"

# Tables of name: (script, its blocks as "scene speaker: words", or "scene: words" for action).
SPEECHES = {
    "number": (A + "ANNA\n42.\n\nHe leaves.", "1 ANNA: 42. | 1: He leaves."),
    "capitals": (A + "BOSS\nBACK TO WORK.\n\nHe leaves.", "1 BOSS: BACK TO WORK. | 1: He leaves."),
    "page number for an answer": (A + "ANNA\nPage 12", "1 ANNA: Page 12"),
    "transition for an answer": (A + "ANNA\nFADE OUT.", "1 ANNA: FADE OUT."),
    "capital name for an answer": (A + "ANNA\nBEN!\n\nBEN\nANNA!", "1 ANNA: BEN! | 1 BEN: ANNA!"),
    "count": (A + "ANNA\n1.\n2.\n3.\n4.\n\nBEN\nSo:\n1\n2\n3\nGo!", "1 ANNA: 1. 2. 3. 4. | 1 BEN: So: 1 2 3 Go!"),
    "forced and bold": (A + "**@McAvoy**\nHi.", "1 MCAVOY: Hi."),
    "hash": (A + "ANNA\n#1 of all.", "1 ANNA: #1 of all."),
    "parenthetical": (A + "ANNA\n(low)\nGo.\n(beat)\nNow.", "1 ANNA: (low) Go. (beat) Now."),
    "parenthetical alone": (A + "ANNA\n(nods)\n\nBen goes.", "1 ANNA: (nods) | 1: Ben goes."),
    "two spaces": (A + "ANNA\nOne.\n  \nTwo.\n\nShe goes.", "1 ANNA: One. Two. | 1: She goes."),
    "extension": (A + "ANNA (V.O.)\nGo.", "1 ANNA: Go."),
    "small extension": (A + "ANNA (cont'd)\nGo.", "1 ANNA: Go."),
    "curly extension": (A + "ANNA (CONT’D) (O.S.)\nGo.", "1 ANNA: Go."),
    "extension without parentheses": (A + "ANNA V.O.\nGo.\n\nBEN - CONT'D\nNo.", "1 ANNA: Go. | 1 BEN: No."),
    "open extension": (A + "ANNA (on the phone\nGo.", "1 ANNA: Go."),
    "dual": (A + "ANNA\nYes.\n\nBEN ^\nNo.", "1 ANNA: Yes. | 1 BEN: No."),
    "dual with extension": (A + "BEN (O.S.) ^\nNo.", "1 BEN: No."),
    "digits": (A + "R2D2\nBleep.\n\nGUARD #2\nStop.", "1 R2D2: Bleep. | 1 GUARD #2: Stop."),
    "signs": (A + "DR. O'NEIL & SON\nHi.\n\nJEAN-LUC\nHo.", "1 DR. O'NEIL & SON: Hi. | 1 JEAN-LUC: Ho."),
    "two names": (A + "ANNA and BEN\nHi.", "1 ANNA AND BEN: Hi."),
    "Mc": (A + "McAVOY\nHi.", "1 MCAVOY: Hi."),
    "accents": (A + "ÉMILE\nOui.\n\nÜLKÜ\nJa.\n\nАННА\nДа.", "1 ÉMILE: Oui. | 1 ÜLKÜ: Ja. | 1 АННА: Да."),
    "forced": (A + "@McAvoy\nHi.\n\n@安娜\n你好。", "1 MCAVOY: Hi. | 1 安娜: 你好。"),
    "bold": (A + "**ANNA**\nHi.\n\n_BEN_ (V.O.)\nHo.", "1 ANNA: Hi. | 1 BEN: Ho."),
    "colon": (A + "ANNA:\nHi.\n\nBEN:\nHo.", "1 ANNA: Hi. | 1 BEN: Ho."),
    "lyrics": (A + "ANNA\n~La la\n~Li li", "1 ANNA: La la Li li"),
    "number is no name": (A + "23 (O.S.)\nHi.", "1: 23 (O.S.) Hi."),
    "shot is no name": (A + "ANGLE ON THE DOOR\nIt opens.", "1: ANGLE ON THE DOOR It opens."),
    "shout is no name": (A + "BANG!\nThe door falls.", "1: BANG! The door falls."),
    "forced action is no name": (A + "!BANG\nThe door falls.", "1: BANG The door falls."),
    "name alone is no cue": (A + "ANNA\n\nShe eats a pear.", "1: ANNA | 1: She eats a pear."),
    "transition below": (A + "ANNA\nGo.\nCUT TO:\n\nEXT. B\n\nRain.", "1 ANNA: Go. | 2: Rain."),
    "below a heading": ("INT. A - DAY\nANNA\nGo.", "1 ANNA: Go."),
    "CONT'D of its own": (A + "ANNA\n(CONT'D)\nGo.", "1 ANNA: Go."),
}

FOUNTAIN = {
    "sections": ("# Act\n\n## Sequence\n\nINT. A - DAY\n\nRain.", "1: Rain."),
    "section above a synopsis": ("# Act\n= He goes.\n\nINT. A - DAY\n\nRain.", "1: Rain."),
    "hashtag number": (A + "#1 on the list is Anna.", "1: #1 on the list is Anna."),
    "page break": (A + "Rain.\n\n===\n\nSnow.\n\n=======\n\nHail.", "1: Rain. | 1: Snow. | 1: Hail."),
    "lyrics": (A + "~La la", "1: La la"),
    "centred": (A + "> THE LAMP <\n\n>No space<", "1: THE LAMP | 1: No space"),
    "transitions alone": (A + "Rain.\n\nGO TO:\n\nTO:\n\nEXT. B\n\nSnow.", "1: Rain. | 2: Snow."),
    "transition": (A + "Rain.\n\n> Burn to white.\n\nEXT. B\n\nSnow.", "1: Rain. | 2: Snow."),
    "emphasis": (A + "A *b* **c** ***d*** _e_ _**f**_.", "1: A b c d e f."),
    "nested emphasis": (A + "**bold *and italic*** here", "1: bold and italic here"),
    "escapes": (A + "A \\*star\\* and \\_line\\_", "1: A *star* and _line_"),
    "no emphasis": (A + "2 * 3 * 4, snake_case_name, *open", "1: 2 * 3 * 4, snake_case_name, *open"),
    "note": (A + "She [[who?]] eats. [[which\nlamp?]] Rain.", "1: She eats. Rain."),
    "note in a speech": (A + "ANNA\n[[angry]]\nGo.", "1 ANNA: Go."),
    "note over a blank line of two spaces": (A + "A [[b\n  \nc]] d.", "1: A d."),
    "note open": (A + "A [[b.\n\nC.\n\nD [[e]].", "1: A [[b. | 1: C. | 1: D ."),
    "note closed only": (A + "A b]] c.", "1: A b]] c."),
    "boneyard": (A + "A /* b */ c.\n\n/*\nEXT. B\n\nD.\n*/\n\nE.", "1: A c. | 1: E."),
    "boneyard open": (A + "A /* b.\n\nEXT. B\n\nC.", "1: A /* b. | 2: C."),
    "boneyard open before another": (A + "A /* b.\n\nEXT. B\n\nC /* d */ e.", "1: A /* b. | 2: C e."),
    "boneyard before a cue": (A + "A.\n/* B.\n\nC. */\nANNA\nGo.", "1: A. | 1 ANNA: Go."),
}

PAGES = {
    "speech over a page": (
        A + "ANNA\nI said\n\n(MORE)\n\n12.\n\nANNA (CONT'D)\nto go.\n\nANNA (CONT'D)\nNow.",
        "1 ANNA: I said to go. | 1 ANNA: Now.",
    ),
    "speech over a forced page": (A + "ANNA\nI said\n\n===\n\nANNA (CONT'D)\nto go.", "1 ANNA: I said to go."),
    "speech over a form feed": (A + "ANNA\nI said.\n(MORE)\n\x0cANNA (CONT'D)\nGo.", "1 ANNA: I said. Go."),
    "speech over a page of a scene": (
        A + "ANNA\nI said.\n(MORE)\n\n(CONTINUED)\n\n12.\n\n4 CONTINUED: (2) 4\n\nANNA (CONT'D)\nGo.",
        "1 ANNA: I said. Go.",
    ),
    "speech after action": (
        A + "ANNA\nStop.\n\nShe goes.\n\nANNA (CONT'D)\nGo.",
        "1 ANNA: Stop. | 1: She goes. | 1 ANNA: Go.",
    ),
    "action over a page": (A + "Anna runs over the\n\x0c\nold bridge.", "1: Anna runs over the old bridge."),
    "actions beside a page": (A + "Anna runs.\n\x0c\nBen runs.", "1: Anna runs. | 1: Ben runs."),
    "numbers": (A + "A.\n\n12.\n\n- 13 -\n\nPage 14\n\nPage 15 of 120\n\nB.", "1: A. | 1: B."),
    "numbers within paragraphs": (
        A + "One\n1.\ntwo.\n\nThree\n2.\nfour.\n\nFive\n3.\nsix.",
        "1: One two. | 1: Three four. | 1: Five six.",
    ),
    "drafts": (
        A + "A.\n\n  Blue Rev. (01/02/03)   12.\n\nTHE LAMP - FULL YELLOW DRAFT - 9/13/19 4.\n\nREVISED 3/4/05\n\n"
        "(Blue) 12/3/04   5.\n\n"
        '"The Lamp"   Pink Revisions 3-4-2005   7A.\n\nB.',
        "1: A. | 1: B.",
    ),
    "continued": (
        A + "A.\n\n(CONTINUED)\n\n12 CONTINUED: 12\n\nCONTINUED: (2)2 2\n\n12A-14 CONTINUED: (3) 12A-14\n\n"
        "CONTINUED:\n\nB.",
        "1: A. | 1: B.",
    ),
    "continued in prose": (A + "Continued gunfire echoes.", "1: Continued gunfire echoes."),
    "omitted": (
        A + "A.\n\n12 OMITTED 12\n\nOMITTED\n\n13-15   OMITTED   13-15\n\n16 THRU 18 OMITTED\n\nA19 OMIT A19\n\nB.",
        "1: A. | 1: B.",
    ),
    "omitted in prose": (A + "Omitted from the list, Ben sulks.", "1: Omitted from the list, Ben sulks."),
    "revision marks": (
        A + "ANNA                  *\nGo now. *\n\nRain.       **\n            *\nSnow.",
        "1 ANNA: Go now. | 1: Rain. | 1: Snow.",
    ),
    "other revision marks": (
        A + "ANNA            †\nGo.             +\n\nRain.           *1\n\nSnow.           * *\n\nHail.           |",
        "1 ANNA: Go. | 1: Rain. | 1: Snow. | 1: Hail.",
    ),
    "revision marks at the left": (A + "*  Rain.\n\n*          ANNA\n*    Go.", "1: Rain. | 1 ANNA: Go."),
    "colours": (
        A + "A.\n\nGREEN (1/2/03)   12.\n\nFull White 1/2/03\n\nPágina 12\n\nB.",
        "1: A. | 1: B.",
    ),
    "colours in prose": (A + "A white 1/2 inch of snow.\n\nB.", "1: A white 1/2 inch of snow. | 1: B."),
    "marks beside emphasis": (A + "It is *late*   *\n\nIt is *late*", "1: It is late | 1: It is late"),
    "title on each page": (
        A + "A.\n\nTHE LAMP          1.\n\nB.\n\nTHE LAMP          2.\n\nC.\n\nTHE LAMP          3.\n\nD.\n\n"
        "THE LAMP          4.\n\n",
        "1: A. | 1: B. | 1: C. | 1: D.",
    ),
    "title beside page numbers": (
        A + "A.\n\n\x0c\nThe Lamp\n\n1.\n\nB.\n\n\x0c\nThe Lamp\n\n2.\n\nC.\n\n\x0c\nThe Lamp\n\n3.\n\nD.\n\n"
        "\x0c\nThe Lamp\n\n4.\n\n",
        "1: A. | 1: B. | 1: C. | 1: D.",
    ),
    "names with numbers are no heads": (
        A + "GUARD 1\nHi.\n\nGUARD 2\nHo.\n\nGUARD 3\nHa.",
        "1 GUARD 1: Hi. | 1 GUARD 2: Ho. | 1 GUARD 3: Ha.",
    ),
    "places with numbers are no heads": (
        "INT. HALL - DAY          1\n\nRain.\n\nINT. HALL - DAY          2\n\nRain.\n\n"
        "INT. HALL - DAY          3\n\nRain.\n\n",
        "1: Rain. | 2: Rain. | 3: Rain.",
    ),
    "acts": ("TEASER\n\nINT. A - DAY\n\nA.\n\nEND OF ACT ONE\n\nACT TWO\n\nEXT. B\n\nB.", "1: A. | 2: B."),
    "year": (A + "1984\n\nRain.", "1: 1984 | 1: Rain."),
}

LAYOUTS = {
    "columns": (
        textwrap.dedent("""
            INT. HALL - DAY

            Anna waits. A clock
            ticks.

                                ANNA
                            (low)
                      Who is
                      there?
            A door opens.
                                Ben
                      Only me.

                      And the cat.

            LATER
            They eat.

                                            CUT TO:

            EXT. STREET - DAY

            Rain.

                                ANNA
                      Wet.
        """),
        "1: Anna waits. A clock ticks. | 1 ANNA: (low) Who is there? | 1: A door opens. | 1 BEN: Only me. And the cat. "
        "| 1: LATER They eat. | 2: Rain. | 2 ANNA: Wet.",
    ),
    "a blank line after every line": (
        "INT. HALL - DAY\n\nAnna waits.\n\nANNA\n\nWho is there?\n\nBEN\n\n(low)\n\nOnly me.\n\nANNA\n\n42.\n\nRain.",
        "1: Anna waits. | 1 ANNA: Who is there? | 1 BEN: (low) Only me. | 1 ANNA: 42. | 1: Rain.",
    ),
    "every line end doubled": (
        "INT. HALL - DAY\n\n\n\nAnna waits. A clock\n\nticks.\n\n\n\nANNA\n\nWho is\n\nthere?\n\n\n\nBEN\n\n"
        "Only me.\n\n\n\nRain.",
        "1: Anna waits. A clock ticks. | 1 ANNA: Who is there? | 1 BEN: Only me. | 1: Rain.",
    ),
    "transcript": (
        A + "Anna waits.\n\nANNA: Who is there?\nBEN (low): Only me.\n\nShe has a note: go home.\n\n"
        "NOTE: She lies.\n\nANNA: Go.",
        "1: Anna waits. | 1 ANNA: Who is there? | 1 BEN: Only me. | 1: She has a note: go home. | "
        "1: NOTE: She lies. | 1 ANNA: Go.",
    ),
    "transcript in small letters": (
        A + "Anna: Hi.\n\nBen: Ho.\n\nAnna: Go.\nNow.\n\nBen: No.",
        "1 ANNA: Hi. | 1 BEN: Ho. | 1 ANNA: Go. Now. | 1 BEN: No.",
    ),
    "one colon is no transcript": (A + "ANNA\nGo.\n\nNOTE: She lies.", "1 ANNA: Go. | 1: NOTE: She lies."),
    "no blank lines": (
        "INT. HALL - DAY\nAnna waits.\nANNA\nWho is there?\nA door opens.\nBEN (O.S.)\n(low)\nOnly me.\n"
        "CUT TO:\nEXT. STREET - DAY\nRain.",
        "1: Anna waits. | 1 ANNA: Who is there? | 1: A door opens. | 1 BEN: (low) Only me. | 2: Rain.",
    ),
    "transition and heading in one line": (
        "CUT TO: EXT. STREET\n\nRain.\n\nCUT TO: INT. STORE\n\nDust.",
        "1: Rain. | 2: Dust.",
    ),
}

LIGHTHOUSE = "INT. A - DAY\n\nRain.\n\nANNA\nGo.\n\nEXT. B - DAY\n\nSnow."
LINES = {
    "LF": LIGHTHOUSE,
    "CR LF": LIGHTHOUSE.replace("\n", "\r\n"),
    "CR": LIGHTHOUSE.replace("\n", "\r"),
    "CR CR LF": LIGHTHOUSE.replace("\n", "\r\r\n"),
    "line separator": LIGHTHOUSE.replace("\n", "\u2028"),
    "paragraph separator": LIGHTHOUSE.replace("\n", "\u2029"),
    "next line": LIGHTHOUSE.replace("\n", "\x85"),
    "next line between paragraphs": LIGHTHOUSE.replace("\n\n", "\n\x85\n"),
    "no-break space": LIGHTHOUSE.replace("\n\n", "\n\xa0\n"),
    "two no-break spaces": LIGHTHOUSE.replace("\n\n", "\n\xa0\xa0\n"),
    "wide space": LIGHTHOUSE.replace("\n\n", "\n\u3000\n"),
    "thin space": LIGHTHOUSE.replace("\n\n", "\n\u2009 \n"),
    "zero-width space": LIGHTHOUSE.replace("\n\n", "\n\u200b\n"),
    "byte order mark": LIGHTHOUSE.replace("\n\n", "\n\ufeff\n"),
    "byte order mark at the start": "\ufeff" + LIGHTHOUSE,
    "tab": LIGHTHOUSE.replace("\n\n", "\n\t\n"),
    "many spaces": LIGHTHOUSE.replace("\n\n", "\n       \n"),
    "two spaces everywhere": LIGHTHOUSE.replace("\n\n", "\n  \n"),
    "form feed": LIGHTHOUSE.replace("\n\n", "\n\f"),
    "spaces at line ends": LIGHTHOUSE.replace("\n", "   \n"),
    "no-break space in names": LIGHTHOUSE.replace("INT. ", "INT.\xa0").replace("ANNA", "ANNA\xa0"),
    "controls of a PDF": LIGHTHOUSE.replace("Rain.", "Ra\x02in.\x0c\x08"),
    "escape codes": LIGHTHOUSE.replace("Rain.", "\x1b]0;title\x07Ra\x1b[1min\x1b(B."),
    "paragraph separators": LIGHTHOUSE.replace("\n\n", "\u2029"),
    "blank letters": LIGHTHOUSE.replace("\n\n", "\n\u3164\n\u2800\n"),
    "control at the end": LIGHTHOUSE + "\n\x1a",
    "bold tags": LIGHTHOUSE.replace("INT. A - DAY", "<b>INT. A - DAY\n</b>"),
}

SCRIPT = "INT. A - DAY\n\nRain.\n\nEXT. B - DAY\n\nSnow."
TITLE_PAGES = {
    "draft first": "Draft date: 1/2/2020\nTitle: A\nAuthor: B",
    "blank line between keys": "Title: A\n\nCredit: Written by\nAuthor: B",
    "WGA": "Title: A\nWGA-number: 12",
    "WGA first": "WGA Registration #: 12\nTitle: A",
    "rule after": "Title: A\nAuthor: B\n===",
    "indented values": "Title:\n    _**THE LAMP**_\n    **PART TWO**\nCredit: Written by\nAuthors:\n\tA\n\tB",
    "value below": "Title:\nTHE LAMP\nAuthor: B",
    "small keys": "title: A\nauthor: B",
    "unknown keys": "Title: A\nMy own key: B\nAnother: C",
    "unknown key first": "Project: A\nTitle: B",
    "url": "Title: A\nContact: https://example.org/a",
    "empty values": "Title:\nAuthor:\nContact:",
    "bold keys": "**Title:** A\n**Author:** B",
    "French": "Titre : La lampe\nAuteur : B",
    "Russian": "Название: Лампа\nАвтор: Б",
    "a language not known": "Izenburua: Lanpara\nEgilea: B",
    "one key": "Title: A",
    "keys a blank line apart": "Title: A\n\nAuthor: B\n\nDraft date: C",
    "blank lines before": "\n\nTitle: A\nAuthor: B",
    "contact over blank lines": "Title: A\nContact:\n    B\n\n    12 C Street",
    "front matter": "---\ntitle: A\ntags:\n  - b\n---\n\nTitle: A",
    "cover": "          THE LAMP\n\n          written by\n\n          A. Nobody\n\n\n          First draft",
    "cover in two lines": "THE LAMP\n\nby Anna Nobody\n\nFADE IN:",
    "Spanish cover": "LA LÁMPARA\n\nGuion de\n\nAna Nadie",
    "long credit": f"THE LAMP\n\nby A. Nobody\n\nBased on the novel by {'B. Somebody ' * 6}",
    "centred title alone": "                    THE LAMP",
    "indented as a whole": "   Title: A\n   Author: B",
    "wide colons": "タイトル：A\n作者：B",
}


NO_TITLE_PAGES = {
    "fade in": ("FADE IN:\n\nRain.\n\nSnow.", "0: Rain. | 0: Snow."),
    "speech": ("ANNA: hello\n\nINT. A\n\nRain.", "0: ANNA: hello | 1: Rain."),
    "speeches": ("ANNA: hello\nBEN: hi\n\nINT. A\n\nANNA: Rain.", "0 ANNA: hello | 0 BEN: hi | 1 ANNA: Rain."),
    "heading": ("INT: KITCHEN\n\nRain.", "1: Rain."),
    "heading below": ("Title: A\nINT. A - DAY\nRain.", "1: Rain."),
    "sentence": ("Draft horses pull.\n\nINT. A\n\nRain.", "0: Draft horses pull. | 1: Rain."),
    "title card": ('TITLE CARD: "1945"\n\nINT. A\n\nRain.', '0: TITLE CARD: "1945" | 1: Rain.'),
    "capitals at the margin": ("DARKNESS\n\nINT. A\n\nRain.", "0: DARKNESS | 1: Rain."),
    "story": ("Anna has one wish: to go.\n\nINT. A\n\nRain.", "0: Anna has one wish: to go. | 1: Rain."),
}


def show(script: str) -> str:
    return " | ".join(f"{scene} {speaker}".strip() + f": {words}" for scene, speaker, words in parse_script(script))


TABLES = (SPEECHES, FOUNTAIN, PAGES, LAYOUTS, NO_TITLE_PAGES)


@pytest.mark.parametrize(("script", "blocks"), [pytest.param(*c, id=name) for t in TABLES for name, c in t.items()])
def test_script(script: str, blocks: str) -> None:
    assert show(script) == blocks


@pytest.mark.parametrize("script", LINES.values(), ids=LINES)
def test_lines(script: str) -> None:
    assert show(script) == "1: Rain. | 1 ANNA: Go. | 2: Snow."


@pytest.mark.parametrize("title_page", TITLE_PAGES.values(), ids=TITLE_PAGES)
def test_title_page(title_page: str) -> None:
    assert show(f"{title_page}\n\n{SCRIPT}") == "1: Rain. | 2: Snow."


EXAMPLE = (Path(__file__).parents[3] / "examples" / "lighthouse.fountain").read_text(encoding="utf-8")
_, STORY = EXAMPLE.split("\n\n", 1)


def in_columns(story: str, action: int, speech: int, cue: int) -> str:
    """A Fountain story as indented plain text, wrapped at 50 and 30 characters."""
    paragraphs = []
    for paragraph in story.split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if rest:
            words = textwrap.wrap(rest, 30)
            paragraphs.append(f"{' ' * cue}{first}\n" + textwrap.indent("\n".join(words), " " * speech))
        else:
            paragraphs.append(textwrap.indent("\n".join(textwrap.wrap(paragraph, 50)), " " * action))
    return "\n\n".join(paragraphs)


def test_a_heading_in_the_column_of_speeches_is_speech() -> None:
    story = STORY.replace("forty years.", "forty years.\nINT. DARK - NIGHT, said he.").replace("CUT TO:\n\n", "")
    for columns in ((0, 10, 22), (15, 25, 37)):
        assert parse_script(in_columns(story, *columns)) == parse_script(story)
    below = in_columns(story, 0, 10, 22).replace("refuse.\n\nEXT.", "refuse.\nEXT.")  # no blank line above the heading
    assert parse_script(below) == parse_script(story)


RETYPED = {
    "doubled": EXAMPLE.replace("\n", "\n\n"),
    "one blank line after every line": re.sub(r"\n+", "\n\n", EXAMPLE),
    "no blank line": re.sub(r"\n+", "\n", STORY),
    "every line revised": re.sub(r"(?m)(?<=.)$", "   *", EXAMPLE),
    "columns": in_columns(STORY, 0, 10, 22),
    "columns and a margin": in_columns(STORY, 15, 25, 37),
    "near columns": in_columns(STORY, 0, 5, 10),
    "cues indented only": in_columns(STORY, 10, 10, 26),
    "columns, doubled": in_columns(STORY, 5, 15, 30).replace("\n", "\n\n"),
    "columns, no blank line": re.sub(r"\n+", "\n", in_columns(STORY, 5, 15, 30)),
    "cues indented only, no blank line": re.sub(r"\n+", "\n", in_columns(STORY, 0, 0, 20)),
    "transcript": re.sub(r"(?m)^([A-Z]+)(?: \(CONT'D\))?\n(?=[A-Z][a-z])", r"\1: ", STORY),
    "cues with a colon": re.sub(r"(?m)^([A-Z]+)(?: \(CONT'D\))?\n(?=[A-Z][a-z])", r"\1:\n", STORY),
}


@pytest.mark.parametrize("script", RETYPED.values(), ids=RETYPED)
def test_the_example_is_the_same_in_every_layout(script: str) -> None:
    parsed = parse_script(EXAMPLE)
    assert (len(parsed), len({scene for scene, _, _ in parsed})) == (10, 3)
    assert parse_script(script) == parsed


def test_windows_characters_read_as_latin_are_no_line_ends() -> None:
    script = A + "ANNA\nI don\x92t\x85 know\x97not yet.\x85\n\nRain."
    assert show(script) == "1 ANNA: I don’t… know—not yet.… | 1: Rain."
