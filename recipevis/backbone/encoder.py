"""The second CLIP, which only measures (`evaluate.encoder`)."""

from pathlib import Path

from recipevis.backbone import kitchen
from recipevis.backbone.base import copy_clip
from recipevis.backbone.checks import check_clip
from recipevis.backbone.hub import snapshot
from recipevis.core import files
from recipevis.errors import InputError


def fetch_encoder(name: str | None, revision: str | None, target: Path) -> None:
    """Write the second CLIP into `target`, and `encoder.json`, which says what it is.

    Args:
        name: `kitchen` for the toy kitchen's own, a folder, or a repository on the hub; None: no second CLIP.
        revision: the commit on the hub.
        target: the folder to write.

    Raises:
        InputError: it isn't there, isn't pinned, is no whole CLIP, or holds no safetensors file.
    """
    if name is not None:
        copy_clip(_find(name, revision), target)
        check_clip(target)
    files.write_json(target / "encoder.json", {"encoder": name, "revision": revision})


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
