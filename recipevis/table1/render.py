"""The table as Markdown, LaTeX and a page; as CSV it is `table.dump`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipevis.evaluation import metrics, significance
from recipevis.evaluation.rows import GROUPS, MODES
from recipevis.report import templates
from recipevis.table1 import rows
from recipevis.table1.table import Comparison, Line, Table

# Columns of the main table: the paper's three measures in each reading, then the judges.
MAIN = (
    "psnr",
    "ssim",
    "ssim_uniform",
    "clip_l2",
    "clip_cosine",
    "clip_projected_l2",
    "clip_projected_cosine",
    "encoder_cosine",
    "image_encoder_cosine",
    "step_faithfulness",
)
_PAGE = Path(__file__).with_name("page.html")
_MODES = {MODES[0]: "autoregressive", MODES[1]: "teacher-forced"}
_GROUPS = {"all": "all steps", "after_first": "steps after the first"}
_KINDS = {
    "paper": "The paper's rows",
    "control": "Controls that are trained",
    "method": "Beyond the paper",
    "own": "Further fusers",
    "within": "Controls within a row",
    "system": "Other systems",
    "baseline": "Baselines",
    "upper bound": "Upper bound",
}
_SEEDS = {0: "", 1: "this checkpoint"}
NOT_ABOVE = "†"
_MOVEMENT = (
    "Thirds of the steps after the first, by the PSNR of the copied previous image: where it is low, the scene or the "
    "camera has moved."
)


def view(table: Table) -> dict[str, Any]:
    """What all formats show: sections of lines with cells, notes, comparisons."""
    main = [name for name in MAIN if name in table.metrics]
    others = [name for name in table.metrics if name not in MAIN]
    sections = [
        {
            "title": f"{_MODES[mode]}, {_GROUPS[group]}".capitalize(),
            "parts": [_part(table, mode, group, columns, columns is main) for columns in (main, others) if columns],
        }
        for mode in MODES
        for group in GROUPS
    ]
    return {
        "sections": sections,
        "notes": notes(table),
        "comparisons": [_comparison(one) for one in table.comparisons],
        "cycle": cycle_claims(table),
        "variances": _variances(table),
        "tracking": _tracking(table),
        "movement": _movement(table),
        "missing": list(table.missing),
        "experiment": table.experiment,
        "videos": table.videos,
    }


def _part(table: Table, mode: str, group: str, columns: Sequence[str], with_paper: bool) -> dict[str, Any]:
    named, lines, kind = metrics.named(), [], None
    stars = _stars(table) if (mode, group) == (MODES[0], "all") else {}
    for line in table.lines:
        if line.mode != mode:
            continue
        cells = [_cell(table, line, group, name, stars) for name in columns]
        paper = [f"{value:.2f}" for value in line.paper] if line.paper else ["", "", ""]
        lines.append(
            {
                "kind": _KINDS[line.kind] if line.kind != kind else None,
                "label": line.label,
                "is_within": line.kind == "within",
                "seeds": "not run" if line.is_missing else _SEEDS.get(line.seeds, f"{line.seeds} seeds"),
                "cells": cells,
                "paper": paper if with_paper else None,
            }
        )
        kind = line.kind
    return {"columns": [named[name] for name in columns], "lines": lines, "paper": with_paper}


def _stars(table: Table) -> dict[tuple[str, str], str]:
    """The stars of each fuser's difference to the baseline, where it is better, by row and metric."""
    against = next(family for family, _, other in rows.comparisons() if other.key == rows.BASELINE)
    return {(one.key, one.metric): one.stars for one in table.comparisons if one.family == against and one.is_better}


def _cell(table: Table, line: Line, group: str, name: str, stars: dict[tuple[str, str], str]) -> dict[str, str]:
    metric, entry = metrics.named()[name], table.cells[line.key, line.mode, group].get(name)
    if entry is None or entry["mean"] is None:
        return {"mean": "–", "interval": "", "mark": ""}
    mark = stars.get((line.key, name), "")
    over = table.margins.get((line.key, line.mode, group), {}).get(name)
    if line.kind in (*rows.KINDS, "system") and over and not _is_above(over, metric):
        mark += NOT_ABOVE
    return {"mean": f"{entry['mean']:.{metric.digits}f}", "interval": _interval(entry, metric.digits), "mark": mark}


def _is_above(over: dict[str, float | None], metric: metrics.Metric) -> bool:
    """Whether a row is better than the mean image by the paired interval; true where neither direction is better."""
    if metric.higher_is_better is None or over["low"] is None:
        return True
    return over["low"] > 0 if metric.higher_is_better else over["high"] < 0


def _interval(entry: dict[str, float | None], digits: int, sign: str = "") -> str:
    if entry["low"] is None:
        return ""
    return f"{entry['low']:{sign}.{digits}f} to {entry['high']:{sign}.{digits}f}"


def _comparison(one: Comparison) -> dict[str, Any]:
    metric = metrics.named()[one.metric]
    digits = max(metric.digits, 2)
    mean = one.difference["mean"]
    same = len(one.seeds) > 1 and len({value > 0 for value in one.seeds}) == 1
    return {
        "family": one.family,
        "label": one.label,
        "metric": metric.heading,
        "arrow": metric.arrow,
        "difference": "–" if mean is None else f"{mean:+.{digits}f}",
        "interval": _interval(one.difference, digits, "+"),
        "p": "–" if one.p != one.p else ("<\u00a00.0001" if one.p < 1e-4 else f"{one.p:.2g}"),
        "stars": one.stars,
        "better": "better" if one.is_better else "worse",
        "seeds": ", ".join(f"{value:+.{digits}f}" for value in one.seeds),
        "one_sign": f"one sign in {len(one.seeds)} seeds" if same else "",
    }


def cycle_claims(table: Table) -> list[str]:
    """For each fuser a sentence on the cycle loss. It needs both independent judges, since L_cyc trains the CLIP."""
    by_row: dict[str, dict[str, Comparison]] = {}
    for one in table.comparisons:
        if one.key.endswith("-cycle"):
            by_row.setdefault(one.label, {})[one.metric] = one
    claims = []
    for label, judged in by_row.items():
        both = [judged[name] for name in rows.JUDGES if name in judged]
        if len(both) < len(rows.JUDGES):
            claims.append(f"{label}: no claim, since a judge is missing.")
        elif all(one.stars and one.is_better for one in both):
            claims.append(f"{label}: better by both judges.")
        elif all(one.stars and not one.is_better for one in both):
            claims.append(f"{label}: worse by both judges.")
        else:
            claims.append(f"{label}: no claim, the judges don't both show a difference.")
    return claims


def _variances(table: Table) -> list[dict[str, Any]]:
    labels = {row.key: row.label for row in rows.ROWS}
    return [
        {
            "label": labels[key],
            "metric": metrics.named()[name].heading,
            **{part: f"{value:.3g}" for part, value in parts.items()},
        }
        for key, by_metric in table.variances.items()
        for name, parts in by_metric.items()
    ]


def _tracking(table: Table) -> list[dict[str, str]]:
    named, lines = metrics.named(), []
    for name, row in table.tracking.iterrows():
        low, high = row["images_low"], row["images_high"]
        ends = "" if low is None or low != low else f"{low:+.2f} to {high:+.2f}"
        images, over_rows = (
            "–" if row[key] is None or row[key] != row[key] else f"{row[key]:+.2f}" for key in ("images", "rows")
        )
        lines.append({"metric": named[name].heading, "images": images, "interval": ends, "rows": over_rows})
    return lines


def _movement(table: Table) -> dict[str, Any]:
    """PSNR by how much the scene moves: headings of the thirds, and lines for each mode; empty without it."""
    if table.movement is None:
        return {}
    least, first, second, most = (f"{bound:.1f}" for bound in table.movement.bounds)
    headings = [f"most: {least} to {first} dB", f"{first} to {second} dB", f"least: {second} to {most} dB"]
    modes = []
    for mode in MODES:
        lines = [one for one in table.movement.rows if one["mode"] == mode]
        cells = [
            [
                {"mean": "–" if t["mean"] is None else f"{t['mean']:.2f}", "interval": _interval(t, 2)}
                for t in one["thirds"]
            ]
            for one in lines
        ]
        labels = [one["label"] for one in lines]
        modes.append({"title": _MODES[mode], "lines": list(zip(labels, cells, strict=True))})
    return {"headings": headings, "modes": modes}


def notes(table: Table) -> list[str]:
    """What a reader must know before reading a number."""
    backbone = table.experiment.get("backbone", {}).get("source", "")
    possible = significance.possible_stars(table.videos)
    least = significance.least_p(table.videos)
    lines = [
        f"Means over images of {table.videos} validation videos, with 95 % intervals over videos. A row with several "
        "seeds is their mean; a row with one is about this checkpoint, not about the method.",
        'The columns under "paper" are from its Table 1, on YouCook2 with Stable Diffusion: '
        + (
            "the toy kitchen's numbers are not comparable with them."
            if backbone == "kitchen"
            else "comparable only with the paper's run on the same videos."
        )
        + " The paper doesn't define its CLIP score, so all four readings are shown, and doesn't say whether its "
        "baseline was fine-tuned, so its numbers stand beside both. Of two numbers in a cell, the second is taken as "
        "the one with the cycle loss: its appendix A.5 says so, its caption says the reverse.",
        f"{NOT_ABOVE} not better than the mean training image: the interval of the paired difference contains zero or "
        "is on the wrong side.",
        "A paired difference compares two rows on the same images; its interval excludes zero where one of them is "
        "better on recipes like these.",
        "Stars compare a fuser with the fine-tuned baseline: * p < 0.05, ** p < 0.01, *** p < 0.001, from sign flips "
        f"of whole videos, corrected for all {len(table.comparisons)} comparisons below (max-T). "
        + (
            f"With {table.videos} videos, the least p is {least:.2g}, so these can occur: {', '.join(possible)}."
            if possible
            else f"With {table.videos} videos, the least p is {least:.2g}: no star can occur, and none is given."
        ),
    ]
    if any(line.seeds > 1 for line in table.lines):
        lines.append(
            f"Three seeds with one sign happen by chance one time in {1 / significance.one_sign(3):.0f}: they are no "
            "evidence by themselves."
        )
    return lines


def markdown(table: Table) -> str:
    """The table as Markdown."""
    shown, lines = view(table), []
    lines += [f"- {note}" for note in shown["notes"]]
    if shown["missing"]:
        lines += ["", "Missing:", "", *(f"- {line}" for line in shown["missing"])]
    for section in shown["sections"]:
        for part in section["parts"]:
            title = section["title"] if part["paper"] else f"{section['title']}: more metrics"
            paper = ["paper: CLIP", "paper: PSNR", "paper: SSIM"] if part["paper"] else []
            headings = ["", *paper, *(f"{column.heading} {column.arrow}" for column in part["columns"])]
            lines += ["", f"### {title}", "", _row(headings), "|---|" + "---:|" * (len(headings) - 1)]
            for line in part["lines"]:
                if line["kind"]:
                    lines.append(_row([f"**{line['kind']}**", *[""] * (len(headings) - 1)]))
                cells = [_text(cell) for cell in line["cells"]]
                label = f"{line['label']} ({line['seeds']})" if line["seeds"] else line["label"]
                lines.append(_row([label, *(line["paper"] or []), *cells]))
    lines += ["", "### Paired differences", "", "| | row | metric | difference | 95 % interval | p | | seeds |"]
    lines.append("|---|---|---|---:|---|---:|---|---|")
    for one in shown["comparisons"]:
        verdict = f"{one['stars']} {one['better']}" if one["stars"] else ""
        keys = [one[key] for key in ("family", "label", "metric", "difference", "interval", "p")]
        lines.append(_row([*keys, verdict, one["seeds"]]))
    if shown["cycle"]:
        lines += ["", "### The cycle loss", "", *(f"- {claim}" for claim in shown["cycle"])]
    if shown["variances"]:
        lines += ["", "### What the means of videos vary by", "", "| row | metric | seed | video | rest |"]
        lines.append("|---|---|---:|---:|---:|")
        lines += [
            _row([one[key] for key in ("label", "metric", "seed", "video", "rest")]) for one in shown["variances"]
        ]
    if shown["movement"]:
        lines += ["", "### PSNR by how much the scene moves", "", _MOVEMENT, ""]
        for mode in shown["movement"]["modes"]:
            lines += [_row([mode["title"], *shown["movement"]["headings"]]), "|---|---:|---:|---:|"]
            lines += [
                _row([label, *(f"{c['mean']} ({c['interval']})" for c in cells)]) for label, cells in mode["lines"]
            ]
            lines.append("")
        lines.pop()
    if shown["tracking"]:
        lines += ["", "### Which metrics follow the kitchen's truth", ""]
        lines += ["| metric | over images | 95 % interval | over rows |", "|---|---:|---|---:|"]
        lines += [_row([one[key] for key in ("metric", "images", "interval", "rows")]) for one in shown["tracking"]]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: dict[str, str]) -> str:
    mark = cell["mark"].replace("*", "\\*")
    return f"{cell['mean']}{mark} ({cell['interval']})" if cell["interval"] else f"{cell['mean']}{mark}"


def latex(table: Table) -> str:
    """The paper's rows, autoregressive over all steps, as a LaTeX table for booktabs; notes as comments."""
    shown = view(table)
    part = shown["sections"][0]["parts"][0]
    count = len(part["columns"])
    lines = [f"% {note}" for note in [*shown["notes"], *(f"missing: {line}" for line in shown["missing"])]]
    lines += [rf"\begin{{tabular}}{{l{'r' * (count + 3)}}}", r"\toprule"]
    arrows = {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}
    headings = [f"{_escape(column.heading)} {arrows.get(column.arrow, '')}" for column in part["columns"]]
    lines += [rf" & \multicolumn{{3}}{{c}}{{paper}} & {' & '.join(headings)} \\", r"\midrule"]
    for line in part["lines"]:
        if line["kind"]:
            lines.append(rf"\multicolumn{{{count + 4}}}{{l}}{{\emph{{{_escape(line['kind'])}}}}} \\")
        cells = [cell["mean"].replace("–", "--") + _marked(cell["mark"]) for cell in line["cells"]]
        lines.append(rf"{_escape(line['label'])} & {' & '.join([*line['paper'], *cells])} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _marked(mark: str) -> str:
    return f"$^{{{mark.replace(NOT_ABOVE, chr(92) + 'dagger')}}}$" if mark else ""


def _escape(text: str) -> str:
    for plain, escaped in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("#", r"\#"), ("²", r"$^2$"), ("×", r"$\times$")):
        text = text.replace(plain, escaped)
    return text


def page(table: Table) -> str:
    """The table as a page that opens from disk."""
    return templates.render(_PAGE, **view(table), about_movement=_MOVEMENT)
