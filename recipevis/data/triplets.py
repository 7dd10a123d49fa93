"""Triplets: (sentence, previous image, image) for every step that has a frame and whose previous step has one."""

import hashlib
from collections import Counter
from collections.abc import Sequence, Set
from typing import Any

import pandas as pd

from recipevis.data.tables.recipes import SUBSETS, Recipe
from recipevis.data.tables.triplets import COLUMNS
from recipevis.data.vocabulary import Vocabulary
from recipevis.errors import InputError

COUNTED = ("videos", "videos_with_frames", "steps", "triplets")
NOT_LISTED = "not_listed"  # the step is not among those that `dataset.only` names
PREVIOUS_MISSING = "previous_missing"  # the previous step has no frame; other reasons are `tables.frames.ERRORS`


def build(
    recipes: Sequence[Recipe], frames: pd.DataFrame, only: Set[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Join recipes and frames.

    Args:
        recipes: every recipe; the triplets keep their order.
        frames: `data/frames.csv`, with a row for every step.
        only: the sample ids that may be used; None: all.

    Returns:
        the table of `tables.triplets.COLUMNS`, and the content of `data/survivors.json`: for each subset the `COUNTED`
        numbers, `dropped` (steps by reason), `recipe_types` (the `COUNTED` numbers of each) and `samples` (the ids of
        the triplets); and `hash`, of the sorted ids of the videos with frames.
    """
    found = {(row.video_id, row.step): row for row in frames.itertuples()}
    counts = {}
    for subset in SUBSETS:
        counts[subset] = dict.fromkeys(COUNTED, 0) | {"dropped": Counter(), "recipe_types": {}, "samples": []}
    rows, survivors = [], []
    for recipe in recipes:
        count = counts[recipe.subset]
        steps = [found[recipe.video_id, step.step] for step in recipe.steps]
        used = len(rows)
        if any(step.file for step in steps):
            survivors.append(recipe.video_id)
        for step, frame in zip(recipe.steps, steps, strict=True):
            previous = steps[step.step - 1].file if step.step else ""
            sample_id = f"{recipe.video_id}_{step.step:02d}"
            if not frame.file:
                count["dropped"][frame.error] += 1
            elif step.step and not previous:
                count["dropped"][PREVIOUS_MISSING] += 1
            elif only is not None and sample_id not in only:
                count["dropped"][NOT_LISTED] += 1
            else:
                count["samples"].append(sample_id)
                about = (sample_id, recipe.subset, recipe.recipe_type, recipe.video_id, step.step, step.sentence)
                rows.append((*about, frame.file, previous))
        of_type = count["recipe_types"].setdefault(recipe.recipe_type, dict.fromkeys(COUNTED, 0))
        counted = (1, any(step.file for step in steps), len(steps), len(rows) - used)
        for total in (count, of_type):
            for name, more in zip(COUNTED, counted, strict=True):
                total[name] += more
    for count in counts.values():
        count["dropped"] = dict(sorted(count["dropped"].items()))
        count["recipe_types"] = dict(sorted(count["recipe_types"].items()))
    digest = hashlib.sha256("\n".join(sorted(survivors)).encode()).hexdigest()
    return pd.DataFrame(rows, columns=COLUMNS), counts | {"hash": digest}


def check(survivors: dict[str, Any]) -> None:
    """Require triplets in both subsets.

    Args:
        survivors: the counts of `build`.

    Raises:
        InputError: a subset has no triplet; the message gives the three most common reasons.
    """
    empty = []
    for subset in SUBSETS:
        count = survivors[subset]
        if count["triplets"]:
            continue
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in Counter(count["dropped"]).most_common(3))
        why = f"none of {count['steps']:,} steps can be used: {reasons}" if reasons else "no step is annotated"
        empty.append(f"{subset}: {why}")
    if empty:
        raise InputError(f"no triplets. {'; '.join(empty)}. See data/frames.csv, data/videos.csv, logs/download.csv")


def count_cut(survivors: dict[str, Any], table: pd.DataFrame, vocabulary: Vocabulary) -> None:
    """Add to each subset's counts how many sentences are longer than the text encoder reads.

    Args:
        survivors: the counts of `build`; each subset gets `cut`: `tokens` (the most that are read), `triplets` (whose
            sentence is cut) and `sentences` (distinct ones).
        table: the triplets.
        vocabulary: of the text encoder.
    """
    cut = {sentence for sentence in table["sentence"].unique() if vocabulary.end(sentence) is not None}
    for subset in SUBSETS:
        found = table["sentence"][(table["subset"] == subset) & table["sentence"].isin(cut)]
        counts = {"triplets": len(found), "sentences": found.nunique()}
        survivors[subset]["cut"] = {"tokens": vocabulary.length} | counts


def outcomes(survivors: dict[str, Any]) -> Counter[tuple[str, str]]:
    """How many steps became triplets (`ok`, by subset) or were `dropped` (by reason), for `progress.tally`."""
    ended = Counter({("ok", subset): survivors[subset]["triplets"] for subset in SUBSETS})
    for subset in SUBSETS:
        ended.update({("dropped", reason): count for reason, count in survivors[subset]["dropped"].items()})
    return ended
