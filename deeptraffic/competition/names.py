"""Display names and labels: nothing invisible in them, and no two names that look alike.

Names have one normal form, letters of one script, and a skeleton that look-alikes share. Sources: Unicode Standard
Annex 15 (normal forms); Technical Standard 39 (its level "highly restrictive" of mixed scripts, and its confusables,
which come with the package confusable-homoglyphs); Default_Ignorable_Code_Point of the Unicode Character Database,
whose code points are reserved for good. Case, accents, spaces and punctuation make no difference; names that differ in
digits alone stay apart.
"""

import re
import unicodedata
from functools import cache

from deeptraffic.competition.store.errors import RequestError

MAX_NAME = 40  # [characters]
MAX_SKELETON = 200  # [characters]
MAX_MARKS = 2  # combining marks on one letter
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories: controls, formats, surrogates, private use, unassigned
BLANK = re.compile(  # Default_Ignorable_Code_Point, and the braille pattern without dots
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
EVERY_SCRIPT = frozenset(("Zyyy", "Zinh"))  # of characters that all scripts use (ISO 15924)
TOGETHER = (  # scripts that one name may have: those of a Latin text in Japanese, Chinese or Korean
    frozenset(("Latn", "Hani", "Hira", "Kana")),
    frozenset(("Latn", "Hani", "Bopo")),
    frozenset(("Latn", "Hani", "Hang")),
)
ONE_STROKE = str.maketrans("l!", "ii")  # I, whose small letter is i, has the prototype l
PAIRS = (("vv", "w"),)
MARK = "\u200e"  # stands around letters of right-to-left scripts in the data


def visible(text: str, instead: str = " ") -> str:
    """Return a text with something else, by default a space, instead of each character that nobody sees."""
    return "".join(c if c.isprintable() else instead for c in BLANK.sub(instead, text)).strip()


def clean_name(text: str) -> str:
    """Return a display name in its normal form; RequestError `name` says what is wrong with it."""
    if BLANK.search(text) or any(unicodedata.category(character) in INVISIBLE for character in text):
        raise RequestError("name", "the name has an invisible or unassigned character; use letters, digits and signs")
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    if not 1 <= len(name) <= MAX_NAME:
        raise RequestError("name", f"the name must have 1 to {MAX_NAME} characters, got {len(name)}")
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise RequestError("name", "the name has no letter and no digit; add one")
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks > MAX_MARKS:
            raise RequestError("name", f"a letter of the name has more than {MAX_MARKS} combining marks; remove some")
    check_scripts(name)
    return name


def check_scripts(name: str) -> None:
    """Raise RequestError `name` for a text whose letters are of more scripts than belong together."""
    from fontTools.unicodedata import script, script_extension, script_name  # needed by a server alone

    used = [(script(character), script_extension(character)) for character in name]
    found = [extension for own, extension in used if own != "Zinh" and not extension & EVERY_SCRIPT]
    alone = [frozenset((one,)) for one in sorted(frozenset().union(*found))]
    if any(all(extension & together for extension in found) for together in (*alone, *TOGETHER)):
        return
    mixed = " and ".join(sorted({script_name(own) for own, _ in used if own not in EVERY_SCRIPT}))
    raise RequestError("name", f"the name mixes letters of scripts, {mixed}; write it in one")


def skeleton(name: str) -> str:
    """Return what names that look alike have in common."""
    seen = _prototypes_of(unicodedata.normalize("NFKD", name))
    folded = _prototypes_of(unicodedata.normalize("NFKD", seen.casefold())).casefold().translate(ONE_STROKE)
    letters = "".join(c for c in folded if unicodedata.category(c)[0] in "LNS")
    for pair, one in PAIRS:
        letters = letters.replace(pair, one)
    return (letters or name)[:MAX_SKELETON]


def _prototypes_of(text: str) -> str:
    known = _prototypes()
    return "".join(known.get(character, character) for character in text)


@cache
def _prototypes() -> dict[str, str]:
    """Return the prototype of each character that looks like another.

    The data lists for each of a pair the other: a character has its prototype alone, a prototype all that look like it.
    """
    from confusable_homoglyphs.confusables import confusables_data

    pairs = {text.strip(MARK): [one["c"].strip(MARK) for one in alike] for text, alike in confusables_data.items()}
    known = {}
    for text, alike in pairs.items():
        if len(text) == 1 and len(alike) == 1:
            alone = pairs.get(alike[0]) == [text]
            known[text] = min(text, alike[0]) if alone else alike[0]
    return known
