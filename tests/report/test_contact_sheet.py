import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.report import contact_sheet

RED, BLUE = (250, 0, 0), (0, 0, 250)


@pytest.fixture
def files(tmp_path):
    """A red image, the ground truth, and a blue one, generated."""
    for name, colour in (("red", RED), ("blue", BLUE)):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    return tmp_path / "red.png", tmp_path / "blue.png"


def where(sheet, colour):
    return abs(np.asarray(sheet).astype(int) - colour).sum(-1) == 0


def test_the_ground_truth_is_above_the_generated_images(files):
    red, blue = files
    strips = [
        contact_sheet.Strip("soup " * 40, [red, None, red], [blue] * 3),
        contact_sheet.Strip("", [red], [blue]),
    ]
    sheet = contact_sheet.compose(strips, pixels=32)
    assert where(sheet, RED).sum() == 3 * 32 * 32  # the missing image leaves its place empty
    assert where(sheet, BLUE).sum() == 4 * 32 * 32
    first_red, first_blue = (np.argwhere(where(sheet, colour))[0][0] for colour in (RED, BLUE))
    assert first_blue == first_red + 32 + 4
    assert contact_sheet.compose([]).width > 0


def test_the_first_recipes_are_shown(files, tmp_path):
    red, blue = files
    folder = tmp_path / "samples"
    rows = [("a_00", "a", 0, str(red)), ("a_01", "a", 1, ""), ("b_00", "b", 0, str(red)), ("c_00", "c", 0, str(red))]
    samples = pd.DataFrame(rows, columns=["sample_id", "video_id", "step", "image"]).assign(recipe_type="soup")
    (folder / "autoregressive").mkdir(parents=True)
    for sample in samples.sample_id:
        (folder / "autoregressive" / f"{sample}.png").write_bytes(blue.read_bytes())
    contact_sheet.write(tmp_path / "sheet.png", samples, folder, strips=2)
    sheet = Image.open(tmp_path / "sheet.png")
    assert where(sheet, RED).sum() == 2 * 128 * 128
    assert where(sheet, BLUE).sum() == 3 * 128 * 128
