"""`survivors.json` of another run: train and evaluate on the same triplets, so that two results compare."""

import json
from collections.abc import Sequence

from recipevis.core import files
from recipevis.data.tables.recipes import SUBSETS, Recipe
from recipevis.errors import InputError


def read_samples(path: str) -> frozenset[str]:
    """The sample ids in the file that the parameter `dataset.only` names, relative to the project's root.

    Raises:
        InputError: the file can't be read, or lists no samples.
    """
    try:
        content = json.loads(files.user_path(path).read_bytes())
        samples = frozenset(sample for subset in SUBSETS for sample in content[subset]["samples"])
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the data/survivors.json of a run: no samples in it") from error
    if not all(isinstance(sample, str) and "_" in sample for sample in samples) or not samples:
        raise InputError(f"{path}: lists no samples")
    return samples


def keep_recipes(recipes: Sequence[Recipe], samples: frozenset[str], path: str) -> list[Recipe]:
    """The recipes with a sample among these; other videos are not even downloaded.

    Raises:
        InputError: there is none.
    """
    videos = {sample.rpartition("_")[0] for sample in samples}
    kept = [recipe for recipe in recipes if recipe.video_id in videos]
    if not kept:
        raise InputError(f"{path}: none of its {len(videos):,} videos is in the annotations")
    return kept
