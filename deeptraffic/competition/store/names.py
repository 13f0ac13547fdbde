"""Display names: one form for each, nothing invisible in them, and no two that look alike.

Sources: Unicode Standard Annex 15 (normal forms) and Technical Standard 39 (confusables; here those that a course's
list of names may meet: Cyrillic and Greek letters, 0 for O, 1 for I). Names that differ in digits alone stay apart.
"""

import unicodedata

from deeptraffic.competition.store.errors import RequestError

MAX_NAME = 40  # [characters]
MAX_MARKS = 2  # combining marks on one letter
ALIKE = {
    "a": "аα",
    "b": "вьβ",
    "c": "сϲ",
    "d": "ԁđ",
    "e": "еєε",
    "g": "ɡ",
    "h": "һнη",
    "i": "іιıl1!|ӏł",
    "j": "јϳ",
    "k": "кκ",
    "m": "м",
    "n": "пν",
    "o": "оοσ0ø",
    "p": "рρ",
    "q": "ԛ",
    "r": "гτ",
    "s": "ѕ",
    "t": "т",
    "u": "υ",
    "w": "ԝωѡ",
    "x": "хχ",
    "y": "уγү",
    "z": "ζ",
}
TO_LATIN = str.maketrans({letter: latin for latin, letters in ALIKE.items() for letter in letters})
PAIRS = (("rn", "m"), ("vv", "w"))


def clean_name(text: str) -> str:
    """Return a display name in its one form; RequestError `name` says what is wrong with it."""
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") for character in text):
        raise RequestError("name", "the name holds an invisible or unassigned character; use letters, digits and signs")
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    if not 1 <= len(name) <= MAX_NAME:
        raise RequestError("name", f"the name has {len(name)} characters; give 1 to {MAX_NAME}")
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise RequestError("name", "the name has no letter and no digit; add one, so that it can be called")
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks > MAX_MARKS:
            raise RequestError("name", f"a letter of the name carries more than {MAX_MARKS} marks; leave some out")
    return name


def skeleton(name: str) -> str:
    """Return what names that look alike have in common."""
    plain = unicodedata.normalize("NFKD", name.casefold()).translate(TO_LATIN)
    letters = "".join(c for c in plain if unicodedata.category(c)[0] in "LNS")
    for pair, one in PAIRS:
        letters = letters.replace(pair, one)
    return letters or name
