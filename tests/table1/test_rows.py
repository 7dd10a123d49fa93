"""The list of rows against the paper's Table 1, read from its text."""

import re

import pytest

from recipevis.config import FUSERS, describe
from recipevis.errors import ParameterError
from recipevis.table1 import rows

NAMES = {  # as the paper calls them
    "concat": "Concatenation",
    "text_pooling": "Text Pooling",
    "image_pooling": "Image Pooling",
    "attend_to_text": "Attend to Text",
    "attend_to_image": "Attend to Image",
}


def paper(shared) -> dict[str, list[list[float]]]:
    """The numbers of each line of the paper's table: columns, each with one or two numbers."""
    text = (shared / "paper/recipevis.txt").read_text(encoding="utf-8").partition("Table 1:")[2].partition("4 CONC")[0]
    lines = [line.split("\t") for line in text.splitlines() if line.count("\t") == 3]
    return {name: [[float(n) for n in re.findall(r"[\d.]+", cell)] for cell in cells] for name, *cells in lines[1:]}


def test_numbers_are_the_papers(shared):
    """The second of two numbers is with the loss, by appendix A.5: lower CLIP, higher PSNR, lower SSIM."""
    known, printed = {row.key: row for row in rows.ROWS}, paper(shared)
    assert len(printed) == 6
    for key, name in NAMES.items():
        clip, psnr, ssim = printed[name]
        assert known[key].paper == (clip[0], psnr[0], ssim[0])
        assert known[f"{key}-cycle"].paper == (clip[1], psnr[1], ssim[1])
    [baseline] = [numbers for name, numbers in printed.items() if name.startswith("Baseline")]
    for key in ("untouched", "baseline"):
        assert known[key].paper == tuple(column[0] for column in baseline)
    without, with_cycle = known["attend_to_image"].paper, known["attend_to_image-cycle"].paper
    assert [b > a for a, b in zip(without, with_cycle, strict=True)] == [False, True, False]


def test_thirteen_rows_then_controls_then_ours():
    assert len(rows.PAPER_ROWS) == 13
    assert [row.kind for row in rows.ROWS] == ["paper"] * 13 + ["control"] * 2 + ["method"] * 8
    assert {row.fuser for row in rows.trained()} == set(FUSERS)
    assert [row.key for row in rows.ROWS if row not in rows.trained()] == ["untouched"]
    assert [row.cycle for row in rows.PAPER_ROWS[1:]] == [False, True] * 6


def test_names_of_experiments_are_distinct_and_git_takes_them():
    names = [row.experiment(seed) for row in rows.trained() for seed in (0, 1, 12)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_rows_are_selected_in_the_tables_order():
    assert [row.key for row in rows.select(["text_only", "baseline"])] == ["baseline", "text_only"]
    assert rows.select(None) == rows.select([]) == list(rows.ROWS)
    assert rows.select(["control", "append"]) == [
        row for row in rows.ROWS if row.kind == "control" or row.key == "append"
    ]
    with pytest.raises(ParameterError, match=r"--rows concat\+cycle.*concat-cycle"):
        rows.select(["concat+cycle"])


def test_the_family_of_comparisons():
    pairs = [(row.key, other.key) for _, row, other in rows.comparisons()]
    cycle = [(f"{key}-cycle", key) for key in ("baseline", *NAMES)]
    ours = [row.key for row in rows.ROWS if row.kind == "method"]
    ours = [(key, other) for key in ours for other in ("attend_to_image", "latent") if key != other]
    paper = [(key, other) for key in NAMES for other in ("baseline", "text_only")]
    assert sorted(pairs) == sorted([*paper, *cycle, *ours])


def test_a_rows_settings_are_keys_of_the_parameters():
    assert set(rows.ROW_KEYS) <= describe().keys()
    latent = next(row for row in rows.ROWS if row.key == "latent-append")
    assert latent.settings(2, 0.1) == {
        "fuser": "attend_to_image",
        "seed": "2",
        "cycle.weight": "0",
        "previous_latent": "true",
        "first_latent": "false",
        "condition": "append",
        "sample.scheduler": "ddpm",
    }


@pytest.mark.parametrize("name", ["append", "latent_append", "baseline_cycle", "paper"])
def test_a_fuser_with_the_name_of_a_row_or_a_kind_is_a_row_of_its_own(name):
    row = rows._own(name)
    assert row.key == f"{name}-own"
    assert row.fuser == name
    assert row.experiment(0) not in {other.experiment(0) for other in rows.ROWS}
    assert rows._own("gated").key == "gated"
