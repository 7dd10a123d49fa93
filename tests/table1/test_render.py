"""The four formats show the same numbers, marks only where they are due, and every row."""

import html.parser
import re

import pandas as pd
import pytest

from recipevis.evaluation import metrics
from recipevis.table1 import render, rows, table
from tests.table1.conftest import METRICS, images_of


@pytest.fixture
def shown(made) -> table.Table:
    """Two seeds of the baseline, one of some others."""
    found = [made("baseline", 0), made("baseline", 1), *(made(key) for key in ("concat", "concat-cycle", "text_only"))]
    return table.build(found, ["table1-image-only-seed0: not run"], {"peer": table.System(peer())}, list(rows.ROWS))


def peer():
    """A system whose images score as the mean image does, but one video better and one worse."""
    images = images_of("baseline", 0, ["mean_image"])
    for column in METRICS:
        images.loc[images.video_id == "0", column] += 5
        images.loc[images.video_id == "1", column] -= 5
    both = [images.assign(picture=mode) for mode in ("autoregressive", "teacher_forced")]
    return pd.concat(both)


class Cells(html.parser.HTMLParser):
    """The tables of a page: a list of rows, each a list of texts."""

    def __init__(self):
        super().__init__()
        self.tables, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data):
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip()


def markdown_table(text: str, title: str) -> list[list[str]]:
    part = text.split(f"### {title}\n")[1].split("\n### ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]


def expected_mark(shown: table.Table, key: str, metric: str) -> str:
    """A star of a fuser that is better than the baseline; a dagger where the margin's interval isn't better than 0."""
    looked_for = (key, "Baseline, fine-tuned", metric, True)
    star = "".join(
        one.stars for one in shown.comparisons if (one.key, one.other, one.metric, one.is_better) == looked_for
    )
    low_end = shown.margins[key, "autoregressive", "all"][metric]
    above = low_end["low"] > 0 if metrics.named()[metric].higher_is_better else low_end["high"] < 0
    return star + ("" if above else "†")


def test_every_row_stands_with_its_numbers_and_the_papers(shown):
    lines = markdown_table(render.markdown(shown), "Autoregressive, all steps")
    heading = lines[0]
    by_label = {re.sub(r" \((this checkpoint|\d seeds|not run)\)$", "", line[0]): line for line in lines}
    for row in rows.ROWS:
        line = by_label[row.label]
        assert line[1:4] == ([f"{value:.2f}" for value in row.paper] if row.paper else ["", "", ""])
        cell = line[1 + [name.split(",")[0] for name in heading[1:]].index("PSNR")]
        entry = shown.cells[row.key, "autoregressive", "all"]["psnr"]
        if entry["mean"] is None:
            assert cell == "–"
            assert line[0].endswith("(not run)")
        else:
            mark = expected_mark(shown, row.key, "psnr").replace("*", "\\*")
            assert cell == f"{entry['mean']:.2f}{mark} ({entry['low']:.2f} to {entry['high']:.2f})"
    assert by_label["Baseline, fine-tuned"][0].endswith("(2 seeds)")
    assert by_label["Concatenation"][0].endswith("(this checkpoint)")
    assert "system: peer" in by_label


def test_marks_come_from_paired_intervals_and_not_from_means(shown):
    part = render.view(shown)["sections"][0]["parts"][0]
    marks = {
        (line["label"], column.name): cell["mark"]
        for line in part["lines"]
        for column, cell in zip(part["columns"], line["cells"], strict=True)
    }
    for line in shown.lines:
        if line.mode == "autoregressive" and line.kind in ("paper", "control", "system") and not line.is_missing:
            for metric in METRICS:
                assert marks[line.label, metric] == expected_mark(shown, line.key, metric)
    assert marks["system: peer", "psnr"] == "†", "on average it equals the mean image"
    found = set(marks.values())
    assert {"", "†"} <= found
    assert any("*" in mark for mark in found)


def test_the_page_and_latex_show_the_same_means(shown):
    page = Cells()
    text = render.page(shown)
    page.feed(text)
    part = render.view(shown)["sections"][0]["parts"][0]
    latex = [line for line in render.latex(shown).splitlines() if line.endswith(r"\\") and line.count("&") > 3][1:]
    on_page = [row for row in page.tables[0][1:] if len(row) > 1]
    assert len(latex) == len(on_page) == len(part["lines"])
    for line, row, tex in zip(part["lines"], on_page, latex, strict=True):
        assert row[0] == line["label"] + line["seeds"]
        cells = tex.removesuffix(r"\\").split(" & ")
        for cell, shown_cell, in_tex in zip(line["cells"], row[4:], cells[4:], strict=False):
            assert shown_cell.startswith(cell["mean"] + cell["mark"])
            assert in_tex.strip().startswith(cell["mean"].replace("–", "--"))
    assert not [link for link in page.links if not link.startswith("#")], "it opens without a network"
    assert "<script" not in text
    for key in ("dump", "dump_comparisons"):
        assert getattr(table, key)(shown)


def test_what_is_missing_is_named_in_each_format(shown):
    for text in (render.markdown(shown), render.page(shown), render.latex(shown)):
        assert "table1-image-only-seed0: not run" in text


def test_labels_are_escaped(made):
    nasty = "<b>a_b & 5 %</b>"
    shown = table.build([made("baseline")], [nasty], {"a_b&<i>": table.System(peer())}, rows.select(["baseline"]))
    page, latex = render.page(shown), render.latex(shown)
    assert nasty not in page
    assert "<i>" not in page
    assert r"system: a\_b\&<i>" in latex
    body = [line for line in latex.splitlines() if not line.startswith("%")]
    assert not [line for line in body if re.search(r"(?<!\\)[_%#]", line)]


def verdicts(made, pluses: dict[str, float], known: tuple[str, ...] = METRICS) -> list[str]:
    """The claims about the cycle loss where some metrics of its row are moved by so much."""
    without, with_loss = made("concat"), made("concat-cycle")
    with_loss.images[list(METRICS)] = without.images[list(METRICS)]
    for metric, plus in pluses.items():
        with_loss.images[metric] += plus + 0.01 * with_loss.images.video_id.astype(int)
    for one in (without, with_loss):
        one.images[[name for name in METRICS if name not in known]] = float("nan")
    return render.cycle_claims(table.build([without, with_loss], [], {}, list(rows.ROWS)))


def test_a_claim_about_the_cycle_loss_needs_both_judges(made):
    """Of both judges, lower is better."""
    both = ("encoder_cosine", "image_encoder_cosine")
    [better] = verdicts(made, dict.fromkeys(both, -1.0))
    [worse] = verdicts(made, dict.fromkeys(both, 1.0))
    [one] = verdicts(made, {"encoder_cosine": -1.0, "clip_l2": -1.0, "psnr": 1.0})
    [opposed] = verdicts(made, {"encoder_cosine": -1.0, "image_encoder_cosine": 1.0})
    [absent] = verdicts(made, dict.fromkeys(both, -1.0), known=("psnr", "clip_l2", "encoder_cosine"))
    assert ("better" in better, "worse" in worse) == (True, True)
    assert all("no claim" in claim for claim in (one, opposed, absent))
