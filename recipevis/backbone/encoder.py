"""The second CLIP, which only measures (`evaluate.encoder`)."""

import shutil
from pathlib import Path

from recipevis.backbone import kitchen, weights
from recipevis.backbone.base import copy_clip
from recipevis.backbone.hub import CLIP, check_files, snapshot
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.errors import InputError


def fetch_encoder(name: str | None, revision: str | None, target: Path, pixels: int = 256) -> None:
    """Write the second CLIP into `target`, and `encoder.json`, which says what it is.

    Args:
        name: `kitchen` for the toy kitchen's own, a folder, or a repository on the hub; None: no second CLIP.
        revision: the commit on the hub.
        target: the folder to write.
        pixels: height and width of a frame, `frames.pixels`.

    Raises:
        InputError: it isn't there, isn't pinned, is no whole CLIP, holds no safetensors file, or fails.
    """
    from recipevis.backbone.checks import check_clip

    if name is not None:
        copy_clip(_find(name, revision), target)
        try:
            check_clip(target, pixels)
        except InputError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise InputError(str(error).replace(str(target), name)) from error
    files.write_json(target / "encoder.json", {"encoder": name, "revision": revision})


def check_encoder(name: str, revision: str | None) -> Finding:
    """Whether the second CLIP is there, for `recipevis doctor`; arguments as for `fetch_encoder`."""
    what, key = "second CLIP", "evaluate.encoder"
    try:
        if revision and name != "kitchen" and not files.user_path(name).is_dir():
            return check_files(what, [(name, revision, CLIP)], key)
        weights.plan("clip", _find(name, revision))
    except InputError as error:
        return Finding(what, "missing", str(error), f"set {key}")
    return Finding(what, "ok", str(name))


def _find(name: str, revision: str | None) -> Path:
    if name == "kitchen":
        return kitchen.NETWORKS / "encoder"
    folder = files.user_path(name)
    if folder.is_dir():
        return folder
    if not revision:
        raise InputError(
            f"evaluate.encoder = {name!r}: no such folder; for a repository on the hub, set evaluate.encoder_revision"
        )
    return snapshot(name, revision)
