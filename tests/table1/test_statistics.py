import html
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recipevis.config import FUSERS
from recipevis.errors import ParameterError
from recipevis.evaluation import significance
from recipevis.table1 import render, rows, table
from tests.table1.fabricated import experiment, images


@pytest.fixture
def made(found):
    return table.build(found, ["table1-text-pooling-seed0: not run"], {}, rows.ROWS)


def test_there_are_the_papers_thirteen_rows_and_two_controls():
    assert len(rows.PAPER_ROWS) == 13
    assert [row.key for row in rows.ROWS if row.kind == "control"] == ["text_only", "image_only"]
    assert {row.fuser for row in rows.ROWS if row.fuser} == set(FUSERS)  # an own fuser has a row, too
    assert len({row.key for row in rows.ROWS}) == len(rows.ROWS)
    assert len({row.experiment(0) for row in rows.trained()}) == len(rows.ROWS) - 1


def test_the_papers_numbers_are_its_own(shared):
    """Against the text of the paper's Table 1."""
    text = (shared / "paper" / "recipevis.txt").read_text(encoding="utf-8")
    paper = {}
    for line in text.splitlines():
        cells = line.split("\t")
        if len(cells) == 4 and cells[1][:1].isdigit():
            paper[cells[0]] = [[float(value) for value in cell.split("/")] for cell in cells[1:]]
    names = {"concat": "Concatenation", "text_pooling": "Text Pooling", "image_pooling": "Image Pooling"}
    names |= {"attend_to_text": "Attend to Text", "attend_to_image": "Attend to Image"}
    assert len(paper) == 6
    for row in rows.PAPER_ROWS:
        if row.fuser in names:
            assert list(row.paper) == [values[int(row.cycle)] for values in paper[names[row.fuser]]]
        elif row.paper:
            assert list(row.paper) == [values[0] for values in paper["Baseline (Stable Diffusion)"]]


def test_a_row_is_the_mean_over_its_seeds(found, made):
    own = [one.images for one in found if one.row.key == "attend_to_image"]
    expected = np.mean([table_[table_.picture == "autoregressive"].psnr.mean() for table_ in own])
    cell = made.cells["attend_to_image", "autoregressive", "all"]["psnr"]
    assert cell["mean"] == pytest.approx(expected, rel=1e-4)
    assert cell["low"] < cell["mean"] < cell["high"]
    seeds = {line.key: line.seeds for line in made.lines}
    assert (seeds["attend_to_image"], seeds["attend_to_image-cycle"], seeds["untouched"]) == (3, 1, 0)
    assert made.cells["attend_to_image", "autoregressive", "all"]["fid"] == {"mean": 20.1, "low": None, "high": None}
    assert made.cells["mean_image", "autoregressive", "all"]["fid"]["low"] == 1.0


def test_every_kind_of_line_is_there(made):
    kinds = {line.kind for line in made.lines}
    assert kinds == {"paper", "control", "method", "within", "baseline", "upper bound"}
    within = [line.key for line in made.lines if line.kind == "within"]
    assert "attend_to_image:wrong_previous" in within
    assert not any(key.startswith("baseline:") for key in within)  # it sees no image


def test_the_family_is_corrected_together(found, made):
    """Against the same sums put together by hand."""
    sums, labels = [], []
    tables = {(one.row.key, one.seed): one.images[one.images.picture == "autoregressive"] for one in found}

    def averaged(key, seeds):
        return sum(tables[key, seed].set_index("sample_id")[list(rows.FAMILY)] for seed in seeds) / len(seeds)

    for one in ("concat", "attend_to_image"):
        for other in ("baseline", "text_only"):
            seeds = [0, 1, 2] if one == "attend_to_image" else [0]
            apart = averaged(one, seeds) - averaged(other, seeds)
            sums.append(apart.groupby(apart.index.str.partition("_").get_level_values(0)).sum())
            labels.append((one, other))
    cycle = averaged("attend_to_image-cycle", [0]) - averaged("attend_to_image", [0])
    sums.append(cycle.groupby(cycle.index.str.partition("_").get_level_values(0)).sum())
    adjusted = significance.max_t(np.concatenate([one.to_numpy() for one in sums], axis=1)).reshape(
        -1, len(rows.FAMILY)
    )
    expected = {label: dict(zip(rows.FAMILY, p, strict=True)) for label, p in zip(labels, adjusted, strict=False)}
    assert len(made.comparisons) == 5 * len(rows.FAMILY)
    for one in made.comparisons:
        other = {"Baseline, fine-tuned": "baseline", "Text only (control)": "text_only"}.get(one.other)
        if other:
            assert one.p == pytest.approx(expected[one.key, other][one.metric])
    fuser = next(one for one in made.comparisons if one.key == "attend_to_image" and one.metric == "psnr")
    assert fuser.stars == "**"  # the least p of eight videos is 0.008
    assert fuser.is_better
    assert len(fuser.seeds) == 3


def test_no_star_with_too_few_videos(found):
    few = [experiment(key, level) for key, level in (("baseline", 16.0), ("attend_to_image", 20.0))]
    few = [replace(one, images=one.images[one.images.video_id <= "v4"]) for one in few]
    made = table.build(few, [], {}, rows.ROWS)
    assert {one.stars for one in made.comparisons} == {""}
    assert any("no star can occur" in note for note in render.notes(made))


def test_a_claim_about_the_cycle_loss_needs_both_judges(found, made):
    assert [claim for claim in render.cycle_claims(made) if "both judges" in claim]
    for one in found:
        if one.row.key == "attend_to_image-cycle":
            one.images["encoder_cosine"] += 3  # now the other judge says that it is worse
    claims = render.cycle_claims(table.build(found, [], {}, rows.ROWS))
    assert not [claim for claim in claims if "better by both" in claim]


def test_a_row_that_does_not_beat_the_mean_image_is_marked_by_its_paired_interval(made):
    shown = render.view(made)["sections"][0]["parts"][0]
    marks = {line["label"]: line["cells"][0]["mark"] for line in shown["lines"]}
    assert render.NOT_ABOVE in marks["Concatenation"]
    assert render.NOT_ABOVE not in marks["Attend to image"]
    assert "*" in marks["Attend to image"]


def test_seeds_videos_and_the_rest(found, made):
    parts = made.variances["attend_to_image"]["psnr"]
    assert parts["video"] > parts["rest"] > 0
    assert "concat" not in made.variances  # one seed


def test_the_formats_have_every_row_and_name_what_is_missing(made):
    text, tex, page = render.markdown(made), render.latex(made), render.page(made)
    numbers = pd.read_csv(pd.io.common.StringIO(table.dump(made)))
    for line in made.lines:
        assert line.label in text
        assert line.label in html.unescape(page)
    assert all("table1-text-pooling-seed0" in written for written in (text, tex, page))
    assert tex.count(r"\\") > 10
    assert tex.count("{") == tex.count("}")
    assert "http" not in page.replace('lang="en"', "")
    row = numbers[(numbers.row == "concat") & (numbers["mode"] == "teacher_forced") & (numbers.steps == "after_first")]
    assert (
        row.set_index("metric")["mean"]["psnr"] == made.cells["concat", "teacher_forced", "after_first"]["psnr"]["mean"]
    )
    compared = pd.read_csv(pd.io.common.StringIO(table.dump_comparisons(made)))
    assert len(compared) == len(made.comparisons)
    assert all(isinstance(json.loads(value), list) for value in compared.by_seed)


def test_another_system_is_a_row(found):
    made = table.build(found, [], {"theirs": table.System(images(18.0, 5))}, rows.ROWS)
    line = next(line for line in made.lines if line.kind == "system")
    assert "theirs" in line.label
    assert made.cells[line.key, "autoregressive", "all"]["psnr"]["mean"] == pytest.approx(18.7, abs=0.1)


def test_rows_are_chosen_by_key():
    assert [row.key for row in rows.select(["concat", "baseline"])] == ["baseline", "concat"]
    assert rows.select([]) == list(rows.ROWS)
    with pytest.raises(ParameterError, match="concatenate"):
        rows.select(["concatenate"])


def test_thirds_by_movement_are_means_of_the_steps_between_the_bounds(found, made):
    """Recomputed by sorting: the third where the copy is worst is where the scene moves most."""
    seeds = {one.seed: one.images for one in found}  # what is copied is the same whatever is trained; not here
    copies = [t[(t.picture == "copy_previous") & (t.step > 0)].set_index("sample_id")["psnr"] for t in seeds.values()]
    copied = sum(copies) / len(copies)
    order = copied.sort_values().index
    assert made.movement.bounds[0] == pytest.approx(copied.min())
    assert made.movement.bounds[3] == pytest.approx(copied.max())
    own = [one.images for one in found if one.row.key == "attend_to_image"]
    for mode in ("autoregressive", "teacher_forced"):
        of_seeds = [table_[table_.picture == mode].set_index("sample_id")["psnr"] for table_ in own]
        means = sum(of_seeds) / len(of_seeds)
        [row] = [one for one in made.movement.rows if (one["key"], one["mode"]) == ("attend_to_image", mode)]
        for third, count in enumerate(np.array_split(order, 3)):
            assert row["thirds"][third]["mean"] == pytest.approx(means[count].mean(), rel=1e-3)
    assert not [one for one in made.movement.rows if one["key"] == "latent"]  # not run
