"""Fonts of captions: with a font that the test makes, whose glyphs are squares of known widths."""

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image, ImageDraw

from recipevis.cli import fonts, storyboard
from recipevis.report import text


def make_font(path, characters, blank=False):
    """A font with a full square, one em wide, for each character."""
    names = {ord(character): f"u{ord(character):05X}" for character in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    pen = TTGlyphPen(None)
    if not blank:
        pen.moveTo((0, 0))
        for corner in ((0, 1000), (1000, 1000), (1000, 0)):
            pen.lineTo(corner)
        pen.closePath()
    glyph = pen.glyph()
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], glyph))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def system(monkeypatch):
    """A function: let the system have these font files and no others."""
    caches = (fonts.faces, fonts.other_faces, fonts.characters, fonts._has_ink)

    def has(*paths):
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in paths])
        for cached in caches:
            cached.cache_clear()

    yield has
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_a_font_that_has_the_letters_is_taken(system, tmp_path):
    own = make_font(tmp_path / "own.ttf", "把胡")
    system(own)
    assert fonts.other_faces(frozenset("把 stir 胡萝")) == dict.fromkeys("把胡", fonts.Face(own, 0))
    (line,) = fonts.warnings(["把 stir", "胡萝萝"])
    assert "萝" in line
    assert "把" not in line
    assert "fonts-noto-cjk" in line


def test_as_few_fonts_as_suffice_and_upright_ones_first(system, tmp_path):
    paths = [make_font(tmp_path / name, letters) for name, letters in
             [("a-Bold.ttf", "把胡"), ("b.ttf", "把"), ("c.ttf", "把胡"), ("d.ttf", "萝")]]  # fmt: skip
    system(*paths)
    assert {letter: face.path.name for letter, face in fonts.other_faces(frozenset("把胡萝")).items()} == {
        "把": "c.ttf", "胡": "c.ttf", "萝": "d.ttf"}  # fmt: skip
    assert fonts.warnings(["把胡萝"]) == []


def test_fonts_that_cannot_be_drawn_are_left_out(system, tmp_path):
    (tmp_path / "damaged.ttf").write_bytes(b"\0\1\0\0 damaged")
    last = tmp_path / "LastResort.ttf"
    system(tmp_path / "damaged.ttf", tmp_path / "absent.ttf", make_font(tmp_path / "blank.ttf", "把", blank=True),
           make_font(last, "把"))  # fmt: skip
    assert fonts.other_faces(frozenset("把")) == {}
    assert "把" in fonts.warnings(["把"])[0]


def test_mixed_lines_are_as_wide_as_their_parts_and_the_square_is_drawn(system, tmp_path):
    system(make_font(tmp_path / "own.ttf", "把"))
    setting, regular = fonts.CaptionFont(20, ["add 把 now"]), text.font(20)
    width = regular.getlength("add ") + 20 + 20 + regular.getlength("now")  # the space after a run belongs to it
    assert setting.getlength("add 把") == regular.getlength("add ") + 20
    assert setting.getlength("add 把 now") <= width
    canvas = Image.new("L", (100, setting.line_height), 255)
    setting.draw(ImageDraw.Draw(canvas), (0, 0), "把", 0)
    rows, columns = np.nonzero(np.asarray(canvas) < 128)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (20, 20)


def test_without_missing_characters_nothing_changes():
    """Against Pillow's own drawing with DejaVu Sans, whose file is matplotlib's."""
    assert str(matplotlib.get_data_path()) in str(text.font(20).path)
    for line in ("add oil", "fluff of fjords — 180 °C", "e\u0301"):
        setting, regular = fonts.CaptionFont(20, [line]), text.font(20)
        assert setting.line_height == sum(regular.getmetrics()) + 5
        assert setting.getlength(line) == regular.getlength(line)
        assert setting.getbbox(line)[2] == regular.getbbox(line)[2]
        ours, theirs = (Image.new("RGB", (300, 40)) for _ in range(2))
        setting.draw(ImageDraw.Draw(ours), (3, 2), line, "white")
        ImageDraw.Draw(theirs).text((3, 2), line, "white", regular)
        assert ours.tobytes() == theirs.tobytes()


def test_letters_of_several_characters_stay_whole():
    family, flag, key = "👩🏽\u200d🍳", "🇩🇪", "1\ufe0f\u20e3"
    assert text.letters(f"a{family}{flag}{flag}{key}e\u0301") == ["a", family, flag, flag, key, "e\u0301"]


def test_a_storyboard_with_other_letters_stays_in_its_boxes(system, tmp_path):
    system(make_font(tmp_path / "own.ttf", "把胡"))
    captions = ["把胡" * 30, "stir 把 and 胡", "add"]
    layout = storyboard.arrange(captions, 64, 64)
    board = storyboard.compose([np.full((64, 64, 3), 90, np.uint8)] * 3, captions)
    for cell in layout.cells:
        left, top, right, bottom = cell.picture
        for box in (cell.number, *cell.boxes, (left - 1, top - 1, right + 1, bottom + 1)):
            board.paste(text.PAPER, box)
    assert len(board.getcolors()) == 1
