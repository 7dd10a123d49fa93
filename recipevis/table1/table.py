"""The numbers of the table: means over seeds with intervals over videos, paired margins, a corrected family of tests.

Every row becomes a set of per-image scores, averaged over its seeds. So rows with one seed speak of one checkpoint, and
those with several of the method.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipevis.errors import InputError
from recipevis.evaluation import intervals, metrics, significance, tracking
from recipevis.evaluation.rows import COPY_PREVIOUS, GROUPS, KINDS, LINES, MEAN_IMAGE, MODEL, MODES
from recipevis.table1 import rows
from recipevis.table1.experiments import Experiment

RESAMPLES = 2000
_COLUMNS = ("picture", "sample_id", "video_id", "step")


@dataclass(frozen=True)
class Line:
    """A line of the table in one mode.

    Attributes:
        key, label: of the row.
        kind: one of `rows.KINDS`, `within` (the controls of one experiment), `baseline`, `upper bound` or `system`.
        mode: of `MODES`.
        scores: a row an image, indexed by `sample_id`: `video_id`, `step` and the metrics, averaged over the seeds.
        seeds: how many; 0: there is nothing to train.
        paper: the paper's CLIP, PSNR and SSIM.
        is_missing: whether there is no experiment of the row; it then has no scores.
    """

    key: str
    label: str
    kind: str
    mode: str
    scores: pd.DataFrame
    seeds: int
    paper: tuple[float, float, float] | None = None
    is_missing: bool = False


@dataclass(frozen=True)
class System:
    """Another system's scores.

    Attributes:
        images: a row an image, `picture` among `MODES`.
        data_hash: of the videos; None where its `evaluation.json` doesn't say.
    """

    images: pd.DataFrame
    data_hash: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A declared comparison of two rows by one metric, autoregressive, over all steps.

    Attributes:
        family: what is compared, for the reader.
        label: of the row; `other`: of the row that it is compared with.
        metric: the key.
        difference: the paired difference with its interval, the row minus the other.
        p: adjusted for the whole family (max-T); NaN without data.
        stars: at 0.05, 0.01 and 0.001; none that so few videos can't earn.
        is_better: whether the difference favours the row.
        seeds: by seed, the differences of the means; empty with one.
        videos: how many.
    """

    family: str
    key: str
    label: str
    other: str
    metric: str
    difference: Mapping[str, float | None]
    p: float
    stars: str
    is_better: bool
    seeds: Sequence[float]
    videos: int


@dataclass(frozen=True)
class Movement:
    """PSNR by how much the scene moves, since real videos cut: thirds of the steps after the first.

    Attributes:
        bounds: PSNR of the copied previous image, dB: the least, the two that part the thirds, the largest.
        rows: a row of the table and a mode each: `key, label, mode`, and `thirds`, an interval each, most movement
            first.
    """

    bounds: Sequence[float]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """Everything that is shown.

    Attributes:
        lines: in reading order, for each mode.
        cells: `{(key, mode, group): {metric: {mean, low, high}}}`.
        margins: `{(key, mode, group): {metric: {mean, low, high}}}`: the line minus the mean training image.
        comparisons: the family.
        variances: `{key: {metric: {seed, video, rest}}}`, for rows with several seeds.
        tracking: which metric follows the kitchen's truth; empty without it.
        movement: see `Movement`; None without steps after the first.
        missing: what is not in the table, a line each.
        experiment: what all rows share, see `evaluation.json`.
        videos: how many are scored.
    """

    lines: Sequence[Line]
    cells: Mapping[tuple[str, str, str], Mapping[str, Any]]
    margins: Mapping[tuple[str, str, str], Mapping[str, Any]]
    comparisons: Sequence[Comparison]
    variances: Mapping[str, Mapping[str, Mapping[str, float]]]
    tracking: pd.DataFrame
    movement: "Movement | None"
    missing: Sequence[str]
    experiment: Mapping[str, Any]
    videos: int
    metrics: Sequence[str] = field(default=())


def build(
    found: Sequence[Experiment], missing: Sequence[str], systems: Mapping[str, System], chosen: Sequence[rows.Row]
) -> Table:
    """The table of some experiments.

    Args:
        found: experiments that agree, see `experiments.collect`.
        missing: a line for each row or seed that is not there.
        systems: other systems by name. Those that were scored on other videos are left out, by name.
        chosen: the rows that are shown, also those without an experiment.

    Raises:
        InputError: there is no experiment.
    """
    if not found:
        raise InputError("no experiment of the table is there; `recipevis table1 run` makes them")
    columns = [name for name in found[0].images if name not in _COLUMNS]
    others = {name for name, system in systems.items() if not _is_of_same_videos(system, found[0])}
    missing = [*missing, *(f"system {name}: scored on other videos than the experiments" for name in sorted(others))]
    lines = list(_lines(found, {name: one for name, one in systems.items() if name not in others}, chosen))
    cells = {
        (line.key, line.mode, group): _means(line.scores, columns, first)
        for line in lines
        for group, first in GROUPS.items()
    }
    for line in lines:
        for group in GROUPS:
            cells[line.key, line.mode, group] |= _sets(found, line, group)
    mean_image = {line.mode: line.scores for line in lines if line.key == MEAN_IMAGE}
    margins = {
        (line.key, line.mode, group): intervals.paired(
            line.scores, mean_image[line.mode], _shared(line, columns), first, RESAMPLES, 0
        )
        for line in lines
        for group, first in GROUPS.items()
        if line.key != MEAN_IMAGE and not line.is_missing
    }
    by_row = {line.key: line for line in lines if line.mode == MODES[0] and not line.is_missing}
    return Table(
        lines,
        cells,
        margins,
        _compare(found, by_row),
        _variances(found, columns),
        _tracking(found, lines, columns),
        _movement(lines),
        missing,
        found[0].about,
        found[0].images.video_id.nunique(),
        [name for name in metrics.named() if name in columns or any(name in cell for cell in cells.values())],
    )


def _is_of_same_videos(system: System, experiment: Experiment) -> bool:
    """Whether a system was scored on an experiment's images: by the hash of the data, and by their names."""
    names = [set(images.sample_id[images.picture.isin(MODES)]) for images in (system.images, experiment.images)]
    return system.data_hash in (None, experiment.about.get("data_hash")) and names[0] == names[1]


def _lines(found: Sequence[Experiment], systems: Mapping[str, System], chosen: Sequence[rows.Row]) -> Iterator[Line]:
    """The lines of the table in reading order, for each mode."""
    nothing = found[0].images.drop(columns="picture").set_index("sample_id").iloc[:0]
    for mode in MODES:
        by_row: dict[str, list[Experiment]] = {}
        for one in found:
            by_row.setdefault(one.row.key, []).append(one)
        for row in chosen:
            kind = row.kind
            if row.fuser is None:
                untouched = _averaged(_one_a_seed(found), "untouched_backbone")
                yield Line(row.key, row.label, kind, mode, untouched, 0, row.paper)
            elif row.key in by_row:
                several = by_row[row.key]
                yield Line(row.key, row.label, kind, mode, _averaged(several, mode), len(several), row.paper)
            else:
                yield Line(row.key, row.label, kind, mode, nothing, 0, row.paper, is_missing=True)
        for key, several in by_row.items():
            if not several[0].row.uses_image:
                continue
            for line in LINES:
                if line.kind == "control":
                    label = f"{several[0].row.label}: {line.label[0].lower()}{line.label[1:]}"
                    scores = _averaged(several, line.row)
                    yield Line(f"{key}:{line.row}", label, "within", mode, scores, len(several))
        for name, system in systems.items():
            own = system.images[system.images.picture == mode].drop(columns="picture").set_index("sample_id")
            if len(own):
                yield Line(f"system:{name}", f"system: {name}", "system", mode, own, 0)
        for line in sorted(LINES, key=lambda line: KINDS.index(line.kind), reverse=True):
            if line.kind not in (MODEL, "control") and line.row != "untouched_backbone":
                scores = _averaged(_one_a_seed(found), line.row)
                if len(scores):
                    yield Line(line.row, line.label, line.kind, mode, scores, 0)


def _one_a_seed(found: Sequence[Experiment]) -> list[Experiment]:
    """One experiment of each seed: what no training changes is the same in all that sample with the same scheduler.

    DDPM, the paper's, comes first.
    """
    ordered = sorted(found, key=lambda one: one.row.scheduler == "ddpm")
    return list({one.seed: one for one in ordered}.values())


def _averaged(several: Sequence[Experiment], image_set: str) -> pd.DataFrame:
    """The scores of a set of images, averaged over experiments; a row an image that all of them have."""
    tables = [
        one.images[one.images.picture == image_set].drop(columns="picture").set_index("sample_id") for one in several
    ]
    common = tables[0].index
    for table in tables[1:]:
        common = common.intersection(table.index)
    names = [name for name in tables[0] if name not in _COLUMNS]
    mean = sum(table.loc[common, names] for table in tables) / len(tables)
    return tables[0].loc[common, ["video_id", "step"]].join(mean)


def _means(scores: pd.DataFrame, columns: Sequence[str], first: int) -> dict[str, Any]:
    shown = scores[scores.step >= first]
    names = [name for name in columns if name in scores]
    return intervals.of_means(shown, names, RESAMPLES, 0, metrics.limits()) | intervals.counts(shown)


def _sets(found: Sequence[Experiment], line: Line, group: str) -> dict[str, Any]:
    """A line's distances of sets: the mean over its seeds, with the interval of a single seed."""
    names = [name for name, metric in metrics.named().items() if metric.kind == "set"]
    if line.is_missing or line.kind == "system":
        return {}
    key, _, within = line.key.partition(":")
    own = [one for one in found if one.row.key == key]
    row = (within or "model") if own else {"untouched": "untouched_backbone"}.get(key, key)
    several = [one.result["rows"].get(row, {}) for one in own or _one_a_seed(found)]
    entries = [rows_[line.mode][group] for rows_ in several if rows_]
    sets = {}
    for name in names:
        values = [entry[name] for entry in entries if name in entry and entry[name]["mean"] is not None]
        if values and all(value == values[0] for value in values):  # one seed, or what no training changes
            sets[name] = values[0]
        elif values:
            mean = intervals.rounded(float(np.mean([value["mean"] for value in values])))
            sets[name] = {"mean": mean, "low": None, "high": None}
    return sets


def _shared(line: Line, columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name in line.scores]


def _compare(found: Sequence[Experiment], by_row: Mapping[str, Line]) -> list[Comparison]:
    """The declared family of comparisons, tested together."""
    entries, sums, videos = [], [], sorted(found[0].images.video_id.unique())
    for family, row, other in rows.comparisons():
        if row.key not in by_row or other.key not in by_row:
            continue
        # Seeds are paired: a row with one seed is compared with the same seed of a row with several.
        seeds = sorted({one.seed for one in found if one.row == row} & {one.seed for one in found if one.row == other})
        if not seeds:
            continue
        mine, theirs = ([one for one in found if one.row == which and one.seed in seeds] for which in (row, other))
        mine, theirs = sorted(mine, key=lambda one: one.seed), sorted(theirs, key=lambda one: one.seed)
        averaged = _averaged(mine, MODES[0]), _averaged(theirs, MODES[0])
        names = [name for name in rows.FAMILY if name in averaged[0]]
        difference = intervals.paired(*averaged, names, 0, RESAMPLES, 0)
        apart = averaged[0][names] - averaged[1].loc[averaged[0].index, names]
        of_videos = apart.groupby(averaged[0].video_id).sum().reindex(videos).fillna(0.0)
        for name in names:
            of_seeds = [
                float(
                    one.images[one.images.picture == MODES[0]][name].mean()
                    - two.images[two.images.picture == MODES[0]][name].mean()
                )
                for one, two in zip(mine, theirs, strict=True)
            ]
            entries.append((family, row, other, name, difference[name], of_seeds if len(of_seeds) > 1 else []))
            sums.append(of_videos[name].to_numpy())
    if not entries:
        return []
    adjusted = significance.max_t(np.stack(sums, axis=1))
    return [
        Comparison(
            family,
            row.key,
            row.label,
            other.label,
            name,
            difference,
            float(p),
            significance.stars(float(p), len(videos)),
            difference["mean"] is not None and metrics.named()[name].better(difference["mean"], 0.0),
            of_seeds,
            len(videos),
        )
        for (family, row, other, name, difference, of_seeds), p in zip(entries, adjusted, strict=True)
    ]


def _variances(found: Sequence[Experiment], columns: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """What the means of videos vary by, for rows with several seeds; autoregressive, all steps."""
    variances = {}
    for row in rows.trained():
        several = [one.images[one.images.picture == MODES[0]] for one in found if one.row == row]
        if len(several) > 1:
            variances[row.key] = {
                name: significance.variance_components(
                    np.stack([images.groupby("video_id")[name].mean().to_numpy() for images in several])
                )
                for name in rows.FAMILY
                if name in columns
            }
    return variances


def _tracking(found: Sequence[Experiment], lines: Sequence[Line], columns: Sequence[str]) -> pd.DataFrame:
    """How each metric follows the kitchen's truth: over images of all trained rows, and over the rows' means."""
    truth = [name for name in tracking.TRUTH if name in columns]
    if not truth:
        return pd.DataFrame()
    judged = [name for name in columns if metrics.named()[name].kind != "scene"]
    kinds = (*rows.KINDS, "within")
    shown = [line for line in lines if line.mode == MODES[0] and line.kind in kinds and not line.is_missing]
    images = pd.concat([one.images[one.images.picture == MODES[0]] for one in found])
    means = pd.DataFrame({line.key: line.scores[[*judged, *truth]].mean() for line in shown}).T
    return tracking.over_images(images, judged, truth).join(tracking.over_rows(means, judged, truth))


def _movement(lines: Sequence[Line]) -> Movement | None:
    """PSNR of each row that draws, in thirds of the steps by the PSNR of the copy."""
    [copy] = [line.scores for line in lines if line.key == COPY_PREVIOUS and line.mode == MODES[0]]
    copied = copy[copy.step > 0]["psnr"]
    if len(copied) < 3:
        return None
    bounds = np.quantile(copied, np.linspace(0, 1, 4))
    third = pd.Series(np.digitize(copied, bounds[1:-1]), copied.index)
    found = []
    for line in lines:
        if line.kind not in (*rows.KINDS, "system") or line.is_missing:
            continue
        shown = line.scores[line.scores.index.isin(third.index)]
        parts = [shown[third[shown.index] == number] for number in range(3)]
        thirds = [intervals.of_means(part, ["psnr"], RESAMPLES, 0)["psnr"] for part in parts]
        found.append({"key": line.key, "label": line.label, "mode": line.mode, "thirds": thirds})
    return Movement([float(bound) for bound in bounds], found)


def read_systems(folder: Path) -> dict[str, System]:
    """Other systems by name, as `recipevis score` writes them; empty without any."""
    found = {}
    for path in sorted(folder.glob("*/images.csv")):
        images, result = pd.read_csv(path, dtype={"sample_id": str, "video_id": str}), path.with_name("evaluation.json")
        said = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
        found[path.parent.name] = System(images, said.get("experiment", {}).get("data_hash"))
    return found


def dump(table: Table) -> str:
    """The whole table as CSV, a row a number: `key, label, kind, mode, steps, metric, mean, low, high, ...`."""
    lines = []
    for line in table.lines:
        for group in GROUPS:
            cell, margin = table.cells[line.key, line.mode, group], table.margins.get((line.key, line.mode, group), {})
            for name in table.metrics:
                if name in cell:
                    entry, over = cell[name], margin.get(name, {"mean": None, "low": None, "high": None})
                    lines.append(
                        {
                            "row": line.key,
                            "label": line.label,
                            "kind": line.kind,
                            "mode": line.mode,
                            "steps": group,
                            "metric": name,
                            **entry,
                            **{f"over_mean_image_{key}": value for key, value in over.items()},
                            "seeds": line.seeds,
                            "images": cell["images"],
                            "videos": cell["videos"],
                        }
                    )
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


def dump_comparisons(table: Table) -> str:
    """The family of comparisons as CSV."""
    lines = [
        {
            "family": one.family,
            "row": one.key,
            "against": one.other,
            "metric": one.metric,
            **one.difference,
            "p": one.p,
            "stars": one.stars,
            "is_better": one.is_better,
            "by_seed": json.dumps([intervals.rounded(value) for value in one.seeds]),
        }
        for one in table.comparisons
    ]
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")
