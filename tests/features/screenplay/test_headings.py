"""Scene headings in every form that scripts use, and lines that only look like one."""

from __future__ import annotations

import pytest

from megaseg.features.screenplay.script.headings import heading_text, is_heading
from megaseg.features.screenplay.script_text import parse_script

HEADINGS = """
INT. HOUSE - DAY
INT HOUSE DAY
INT - HOUSE - DAY
INT: HOUSE
INT. HOUSE - DAY (1979)
INT.
INT.HOUSE - DAY
INT/EXT. CAR - DAY
INT./EXT. CAR
INT/EXT CAR
INT. / EXT. CAR
EXT/INT CAR
EXT./INT. CAR
INT-EXT. CAR
INT. - EXT. CAR
INT. & EXT. CAR
I/E CAR
I/E. CAR
I./E. CAR
E/I CAR
I/EXT. CAR
EST. HOUSE
EST HOUSE DAY
INTERIOR HOUSE - DAY
INTERIOR. HOUSE
INTERIOR/EXTERIOR CAR
Interior - house
EXTERIOR: HOUSE
ESTABLISHING - HOUSE
ESTABLISHING SHOT. HOUSE
int. house - day
Ext. Garden, night
ext: garden
int/ext car
int house - day
Int Kitchen - night
**INT. HOUSE - DAY**
*INT. HOUSE*
_INT. HOUSE_
***INT. HOUSE***
_**INT. HOUSE**_
**1. INT. HOUSE**
**1.** INT. HOUSE
INT. **HOUSE** - DAY
_INT. HOUSE_ - DAY
1 INT. HOUSE
1. INT. HOUSE
1.INT. HOUSE
1) INT. HOUSE
(1) INT. HOUSE
#1# INT. HOUSE
#12A# INT. HOUSE
12A. INT. HOUSE
A12 INT. HOUSE
AA12 INT. HOUSE
1-A INT. HOUSE
1.1 INT. HOUSE
12 - INT. HOUSE
12: INT. HOUSE
INT. HOUSE #12#
INT. HOUSE #I-1-A#
12   INT. HOUSE - DAY   12
12A.   INT. HOUSE - DAY   12A.
   12       INT. HOUSE                           12
12   KITCHEN - LATER THAT DAY   12
12. KITCHEN - DAY
SCENE 12
Scene 12
SCENE TWO
SCENE IV
SCENE 12: INT. HOUSE
SCENE 12. INT. HOUSE
SCENE 12 - INT. HOUSE
SCENE 12 INT. HOUSE
SCENE 12 THE OLD HOUSE
Scene 12: The old house
SC. 4
SC. 4 INT. HOUSE
SC 4: HOUSE
FLASHBACK - INT. HOUSE - DAY
FLASHBACK: INT. HOUSE
CUT TO: EXT. STREET
BACK TO INT. HOUSE
# INT. HOUSE
## EXT. STREET
INTÉRIEUR - CUISINE - JOUR
INT. CUISINE/EXT. JARDIN - JOUR
EXTÉRIEUR JOUR. UNE RUE
INNEN. KÜCHE - TAG
INNEN/AUSSEN. AUTO - TAG
AUẞEN. WALD - NACHT
Außen. Wald - Nacht
INTERNO CUCINA - GIORNO
ИНТ. КВАРТИРА - ДЕНЬ
НАТ. УЛИЦА - НОЧЬ
ЭКСТ. УЛИЦА - НОЧЬ
12. ИНТ. КВАРТИРА - ДЕНЬ
ИНТ./НАТ. МАШИНА
S#12. 거실 - 낮
1、内景 客厅 日
内景 客厅 - 日
.KITCHEN
.kitchen
.ÉGLISE - JOUR
.ИНТ. КВАРТИРА
.厨房 - 日
._EXT. PATIO - DAY_
.**THE CAVE**
**.THE CAVE**
._**ÉGLISE**_
.12 THE CAVE
."THE CAVE"
1/ INT. CUISINE - JOUR
12 & 13 INT. HOUSE
12/13 INT. HOUSE
12–14. INT. HOUSE
IV. INT. HOUSE
No. 12 INT. HOUSE
12. KITCHEN. DAY.
SCENE TWELVE
SCENE TWENTY-ONE
SÉQUENCE 1 - INT. CUISINE
SEC. 1 INT. COCINA
BILD 4 INNEN KÜCHE
(FLASHBACK) INT. HOUSE
FADE IN INT. HOUSE
Intérieur jour. Cuisine
AUßEN STRASSE - NACHT
BELSŐ. HÁZ - NAPPAL
İÇ. EV - GÜN
ΕΣΩΤ. ΣΠΙΤΙ - ΜΕΡΑ
ІНТ. КУХНЯ - ДЕНЬ
1-А. ИНТ. КВАРТИРА
内景。客厅 - 日
.【厨房】
.「台所」
> INT. HOUSE - DAY
- EXT. STREET - DAY
~~INT. HOUSE~~
"""

NOT_HEADINGS = """
Est-ce que Jeanne sera ici ?
est gris depuis lundi.
Est gris le ciel.
Est. 1950, says the sign.
EST-CE TOI ?
EST IL MORT ?
int main is where C begins.
ext is short for extension.
INTO the house he runs.
INTERCUT WITH THE STREET
EXTRA people come.
EXTREME CLOSE UP
INT'L AIRPORT
Interior lights flicker.
Exterior-grade paint drips from the brush.
Internet cafes close.
Establishing a base takes weeks.
Innen ist es still.
External forces pull.
...and then
..and then
. . . and then
.
*...and then*
12 angry men sit down.
12 INTRUDERS ENTER.
7 people.
Scene 12 was the worst.
Scene of the crime.
SCENIC ROUTE
SEQUENCES OF LIGHT
JOE'S DINER, EST. 1920
12 DEAD MEN. DAYLIGHT.
THE BOOK ON THE INTERIOR. A BOMB.
Sec. after that, silence.
Bild 4 an der Wand ist schief.
SCI-FI MARATHON
I/O error.
He is in the int. service.
KITCHEN - DAY
"""


def lines(table: str) -> list[str]:
    return [line for line in table.split("\n") if line]


@pytest.mark.parametrize("line", lines(HEADINGS))
def test_a_heading_opens_a_scene_and_is_no_text(line: str) -> None:
    assert is_heading(line)
    assert parse_script(f"He waits.\n\n{line}\n\nShe comes.") == [(0, "", "He waits."), (1, "", "She comes.")]
    assert parse_script(f"He waits.\n\n{line}\nShe comes.") == [(0, "", "He waits."), (1, "", "She comes.")]


@pytest.mark.parametrize("line", lines(NOT_HEADINGS))
def test_a_line_that_looks_like_a_heading_stays(line: str) -> None:
    assert not is_heading(line)
    parsed = parse_script(f"He waits.\n\n{line}\n\nShe comes.")
    assert {scene for scene, _, _ in parsed} == {0}
    assert len(parsed) == 3 or line == "."


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("INT. HALL - DAY", "INT. HALL - DAY"),
        ("12   INT. HALL - DAY   12", "INT. HALL - DAY"),
        ("12A. **INT. HALL** #12A#", "INT. HALL"),
        ("Scene 4: INT. HALL", "INT. HALL"),
        (".THE CAVE #3#", "THE CAVE"),
    ],
)
def test_heading_text_has_no_number_nor_emphasis(line: str, text: str) -> None:
    assert heading_text(line) == text


@pytest.mark.parametrize("line", lines(HEADINGS))
def test_a_heading_within_a_speech_is_speech(line: str) -> None:
    parsed = parse_script(f"INT. A - DAY\n\nANNA\nShe reads:\n{line}\n\nShe stops.")
    assert [(scene, speaker) for scene, speaker, _ in parsed] == [(1, "ANNA"), (1, "")]


def test_a_heading_goes_without_a_blank_line_where_a_sentence_ended() -> None:
    assert parse_script("INT. A - DAY\nAnna eats.\nEXT. B - DAY\nRain.") == [(1, "", "Anna eats."), (2, "", "Rain.")]
    assert parse_script("The sign says\nINT. STUDIO - KEEP OUT\nin red.") == [
        (0, "", "The sign says INT. STUDIO - KEEP OUT in red.")
    ]


def test_a_heading_repeated_at_the_top_of_a_page_opens_no_scene() -> None:
    page = "INT. HALL - DAY\n\nAnna eats.\n\n(CONTINUED)\n\f{}\n\nBert drinks."
    assert [scene for scene, _, _ in parse_script(page.format("INT. HALL - DAY (CONT'D)"))] == [1, 1]
    assert [scene for scene, _, _ in parse_script(page.format("CONTINUED: INT. HALL - DAY"))] == [1, 1]
    assert [scene for scene, _, _ in parse_script(page.format("INT. HALL - CONTINUOUS"))] == [1, 2]
