"""Cleaning of text: what can't be seen and means nothing goes, everything else stays."""

import json
import random
import unicodedata

import pytest

from recipevis.data.sentences import clean, forbidden, lines

FAMILY = "👩🏽\u200d🍳"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("\ufeffPeel\ufeff the carrots", "Peel the carrots"),  # byte order marks
        ("Peel\u200b the car\u00adrots\u2060.", "Peel the carrots."),
        ("car\u200drots and Auf\u200clage", "carrots and Auflage"),
        ("\u200e\u200f Serve.\u202a", "Serve."),
        ("Bake\u2028then\u2029cool\x0bon \x0c a\x1crack\x1d.\x1e.\x1f.\x85.", "Bake then cool on a rack . . . ."),
        ("salt\ufe0f and\U000e0061 pepper", "salt and pepper"),
        ("\u3164\u115f", ""),
        ("\u200b\ufeff\u200e\u00ad\u2060\u200d\ufe0f\u180e", ""),
        ("  two  spaces \u200b ", "two  spaces"),
    ],
)
def test_what_means_nothing_is_removed(given, left):
    assert clean(given) == left


@pytest.mark.parametrize(
    "text",
    [
        "پیاز را خرد می\u200cکنیم",  # Persian: the non-joiner parts a prefix
        "क्\u200dष और क्\u200cष",  # Hindi
        "അവന്\u200d",  # Malayalam: a joiner ends a word
        f"{FAMILY} stirs, {SCOTLAND} 1\ufe0f\u20e3 ❤\ufe0f \u200f".rstrip(" \u200f"),
        "葛\U000e0100城",  # a chosen form of a character
        "חמם \u200f(180)\u200f לאט",  # a text from right to left keeps its marks
        "crème brûlée, cre\u0300me: 2 ½ — 180\u00a0°C\tstir",
    ],
)
def test_what_means_something_stays(text):
    assert clean(text) == text


def test_cleaning_twice_changes_nothing():
    random.seed(0)
    alphabet = "a क्\u200c\u200dم🍳👩\ufe0f\ufeff\u200b\u200f\u2028\x85\x0b\u3164\U000e0067\U0001f3f4\u20e31é\u180b ᠠ"
    for _ in range(3000):
        text = "".join(random.choices(alphabet, k=8))
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        # Nothing that can be seen is lost, and nothing is added.
        seen = [c for c in text if unicodedata.category(c)[0] in "LNPS" and c != "\u3164"]
        assert [c for c in cleaned if unicodedata.category(c)[0] in "LNPS"] == seen


def test_only_three_characters_end_a_line():
    separators = "\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"
    assert len(separators.splitlines()) > 1  # Python's own function splits there
    assert lines(f"a{separators}b\nc\r\nd\re\n\nf") == [f"a{separators}b", "c", "d", "e", "", "f"]


def test_control_characters_are_found():
    assert forbidden("stir\tthe\npot") == ""
    assert forbidden("stir \x1b[2J") == "\x1b"
    assert forbidden("stir \ud800") == "\ud800"


def test_youcook2_stays_as_it_is(shared):
    annotations = json.loads((shared / "youcook2/youcookii_annotations_trainval.json").read_text(encoding="utf-8"))
    sentences = [step["sentence"] for entry in annotations["database"].values() for step in entry["annotations"]]
    assert len(sentences) > 13_000
    assert [clean(sentence) for sentence in sentences] == [sentence.strip() for sentence in sentences]
