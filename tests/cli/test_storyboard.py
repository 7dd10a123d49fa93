import itertools

import numpy as np
import pytest

from recipevis.cli import storyboard
from recipevis.errors import InputError
from recipevis.report import text

SENTENCES = [
    "add oil",
    "pour the egg and milk mixture over the bread and let it soak for ten minutes, then turn it " * 4,
    "Pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "crème brûlée: añadir 2 ½ tazas de azúcar; варить до готовности — 180 °C",
    "stir\tthe  pot\nslowly \x07 \u200b",
    "日本語のレシピを書きます" * 8,
    "e\u0301" + "f" * 200,
]


def captions(count):
    return list(itertools.islice(itertools.cycle(SENTENCES), count))


def pictures(count, height=48, width=64):
    return [np.full((height, width, 3), (40 * index % 250, 90, 200), np.uint8) for index in range(count)]


def overlap(a, b):
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 40])
@pytest.mark.parametrize("width", [32, 256])
def test_nothing_overlaps_and_nothing_lies_outside(count, width):
    layout = storyboard.arrange(captions(count), width, width)
    boxes = [box for cell in layout.cells for box in (cell.picture, cell.number, *cell.boxes)]
    assert len(layout.cells) == count
    assert all(
        0 <= left < right <= layout.width and 0 <= top < bottom <= layout.height for left, top, right, bottom in boxes
    )
    assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]
    assert all(cell.picture[2] - cell.picture[0] == cell.picture[3] - cell.picture[1] == width for cell in layout.cells)


@pytest.mark.parametrize("count", [1, 7, 14])
def test_the_ink_stays_in_its_boxes(count):
    """Wipe every box of the finished image: only paper is left."""
    board = storyboard.compose(pictures(count), captions(count))
    layout = storyboard.arrange(captions(count), 64, 48)
    assert board.size == (layout.width, layout.height)
    for cell in layout.cells:
        left, top, right, bottom = cell.picture
        assert len(board.crop(cell.picture).getcolors()) == 1  # whole: nothing is drawn over it
        for box in (cell.number, *cell.boxes, (left - 1, top - 1, right + 1, bottom + 1)):
            inked = board.crop(box).getcolors(1 << 20)
            assert len(inked) > 1 or box in cell.boxes  # a line of spaces alone is none
            board.paste(text.PAPER, box)
    assert len(board.getcolors()) == 1


def test_captions_are_whole_and_in_order():
    for caption, cell in zip(SENTENCES, storyboard.arrange(SENTENCES, 256, 256).cells, strict=True):
        printed = "".join(letter for letter in caption if letter.isprintable() and not letter.isspace())
        assert "".join(cell.lines).replace(" ", "") == printed


def test_short_words_are_not_broken():
    font = text.font(16)
    sentence = "pour the egg over the bread and let it soak"
    lines = text.wrap(sentence, 120, font)
    assert " ".join(lines) == sentence
    assert len(lines) > 1
    assert all(font.getlength(line) <= 120 for line in lines)
    # No line could have taken the next one's first word.
    for line, following in itertools.pairwise(lines):
        assert font.getlength(f"{line} {following.split()[0]}") > 120


def test_accents_stay_with_their_letter():
    font = text.font(16)
    lines = text.wrap("e\u0301" * 50, 40, font)
    assert all(line.startswith("e") and line.endswith("\u0301") for line in lines)


def test_an_empty_caption_keeps_its_place():
    layout = storyboard.arrange(["", "stir"], 64, 64)
    assert layout.cells[0].lines == ("",)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 5), (7, 4), (40, 8)])
def test_steps_stand_in_reading_order(count, columns):
    cells = storyboard.arrange(["stir"] * count, 64, 64).cells
    assert len({cell.picture[0] for cell in cells}) == columns
    places = [(cell.picture[1], cell.picture[0]) for cell in cells]
    assert places == sorted(places)


def test_a_caption_that_would_be_too_high_gets_a_wider_column(monkeypatch):
    sentence = "a-b " * 2000
    assert storyboard.arrange([sentence], 64, 64).height > 3000
    monkeypatch.setattr(storyboard, "_LONGEST_SIDE", 3000)
    layout = storyboard.arrange([sentence], 64, 64)
    assert layout.width <= 3000
    assert layout.height <= min(3000, 4 * layout.width)
    assert "".join(layout.cells[0].lines).replace(" ", "") == "a-b" * 2000


@pytest.mark.parametrize(("captions", "named"), [(["stir"] * 5_000, "65,500"), (["stir", "stir " * 400_000], "step 2")])
def test_what_no_picture_can_hold_is_refused(captions, named):
    with pytest.raises(InputError, match=named) as error:
        storyboard.arrange(captions, 256, 256)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", [2, 3])
def test_a_contact_sheet_has_the_announced_size(rows):
    labels = [f"seed {10**20 + row}" for row in range(rows)]
    sheet = storyboard.contact_sheet([pictures(4)] * rows, captions(4), labels)
    layout = storyboard.arrange_sheet(captions(4), 64, 48, labels)
    assert sheet.size == (layout.width, layout.height)


def test_a_slide_has_the_announced_size():
    layout, scale = storyboard.arrange_slides(captions(3), 64, 48)
    assert {slide.size for slide in storyboard.slides(pictures(3), captions(3))} == {(layout.width, layout.height)}
    assert scale == 6
