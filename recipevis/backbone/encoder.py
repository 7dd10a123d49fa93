"""The two encoders that only measure: `evaluate.encoder` and `evaluate.image_encoder`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from recipevis.backbone import kitchen, weights
from recipevis.backbone.base import copy_part
from recipevis.backbone.hub import check_files, snapshot
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.errors import InputError


@dataclass(frozen=True)
class Role:
    """What an encoder is for.

    Attributes:
        what: it, in a message.
        key: the parameter that names it.
        part: its name in `weights`, which knows its files.
        shipped: the folder of the toy kitchen's own.
    """

    what: str
    key: str
    part: str
    shipped: str


IMAGE_TEXT = Role("image-text encoder", "evaluate.encoder", "clip", "encoder")
IMAGE = Role("image encoder", "evaluate.image_encoder", "image_encoder", "image_encoder")


def fetch_encoder(name: str | None, revision: str | None, target: Path, pixels: int = 256, role: Role = IMAGE_TEXT):
    """Write an encoder into `target`, and `encoder.json`, which says what it is.

    Args:
        name: `kitchen` for the toy kitchen's own, a folder, or a repository on the hub; None: no encoder.
        revision: the commit on the hub.
        target: the folder to write.
        pixels: height and width of a frame, `frames.pixels`.
        role: what it is for.

    Raises:
        InputError: it isn't there, isn't pinned, is of another kind, holds no safetensors file, or fails.
    """
    from recipevis.backbone.checks import check_judge

    if name is not None:
        copy_part(role.part, _find(name, revision, role), target)
        try:
            check_judge(target, pixels, is_image_text=role is IMAGE_TEXT)
        except InputError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise InputError(str(error).replace(str(target), name)) from error
    files.write_json(target / "encoder.json", {"encoder": name, "revision": revision})


def check_encoder(name: str, revision: str | None, role: Role = IMAGE_TEXT) -> Finding:
    """Whether an encoder is there, for `recipevis doctor`; arguments as for `fetch_encoder`."""
    try:
        if revision and name != "kitchen" and not files.user_path(name).is_dir():
            return check_files(role.what, [(name, revision, {role.part: ""})], role.key)
        weights.plan(role.part, _find(name, revision, role))
    except InputError as error:
        return Finding(role.what, "missing", str(error), f"set {role.key}")
    return Finding(role.what, "ok", str(name))


def _find(name: str, revision: str | None, role: Role) -> Path:
    if name == "kitchen":
        return kitchen.NETWORKS / role.shipped
    folder = files.user_path(name)
    if folder.is_dir():
        return folder
    if not revision:
        raise InputError(f"{role.key} = {name!r}: no such folder; for a repository on the hub, set {role.key}_revision")
    return snapshot(name, revision, {role.part: ""})
