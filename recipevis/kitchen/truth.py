"""What can be asked of a generated image because the kitchen's scene is known: its colours and its ingredients.

A question compares the image with pictures of the scene that differ in one thing: in eight of them the counter, or the
vessel, has each colour; in two of them an ingredient is there or not. Only pixels that tell the pictures apart count.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from recipevis.data.tables.scenes import COUNTER, NEW, OLD, VESSEL, Question
from recipevis.kitchen.drawing.rendering import picture
from recipevis.kitchen.recipes import COLOURS, Scene, recipe

_VISIBLE = 30  # grey levels, summed over the channels: pixels that differ less don't tell two pictures apart
_FEWEST = 60  # pixels; an ingredient that is covered up to fewer is not asked for
_MOST = 1500  # pixels of a question, evenly chosen


def questions(seed: int, camera_cuts: float, video_id: str, step: int, pixels: int) -> list[Question]:
    """The questions about one step's image.

    Args:
        seed, camera_cuts: `dataset.seed` and `dataset.kitchen.camera_cuts`.
        video_id: of the kitchen.
        step: position in the recipe, from 0.
        pixels: height and width of a frame.
    """
    made = recipe(seed, video_id, camera_cuts).steps[step]
    scene, before = made.done, made.begun
    # The vessel's colour is asked where no food lies.
    bare = (picture(scene) == picture(replace(scene, contents=(), acts=(), finish=""))).all(-1)
    asked = [
        _colour(COUNTER, scene.counter, [replace(scene, counter=colour) for colour in COLOURS], pixels),
        _colour(VESSEL, scene.colour, [replace(scene, colour=colour) for colour in COLOURS], pixels, bare),
    ]
    for name in scene.contents:
        asked.append(_ingredient(OLD if name in before.contents else NEW, name, scene, pixels))
    if scene.finish:
        kind = OLD if scene.finish == before.finish else NEW
        pictures = [picture(scene), picture(replace(scene, finish=""))]
        asked.append(_compare(kind, scene.finish, pictures, 0, pixels))
    return [question for question in asked if question is not None]


def _colour(
    kind: str, name: str, scenes: list[Scene], pixels: int, counts: np.ndarray | None = None
) -> Question | None:
    return _compare(kind, name, [picture(scene) for scene in scenes], COLOURS.index(name), pixels, counts)


def _ingredient(kind: str, name: str, scene: Scene, pixels: int) -> Question | None:
    return _compare(kind, name, [picture(scene), picture(scene, hidden=name)], 0, pixels)


def _compare(
    kind: str, name: str, pictures: list[np.ndarray], right: int, pixels: int, counts: np.ndarray | None = None
) -> Question | None:
    """The question which of some pictures an image is most like; None if too few pixels tell the right one apart.

    Args:
        kind, name, right: see `Question`.
        pictures: uint8 [h, w, 3] each.
        pixels: height and width of a frame.
        counts: which pixels may be looked at, bool [h, w]; None: all.
    """
    if counts is not None:  # elsewhere, all pictures are the same
        pictures = [np.where(counts[..., None], one, pictures[right]) for one in pictures]
    if pixels != len(pictures[0]):
        size = (pixels, pixels)
        pictures = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.LANCZOS)) for one in pictures]
    flat = np.stack([one.reshape(-1, 3) for one in pictures])  # [k, pixels², 3]
    apart = np.abs(np.delete(flat, right, 0).astype(int) - flat[right]).sum(-1)  # [k - 1, pixels²]
    positions = np.flatnonzero((apart > _VISIBLE).all(0))
    if len(positions) < _FEWEST * (pixels / 256) ** 2:
        return None
    chosen = positions[np.linspace(0, len(positions) - 1, min(len(positions), _MOST)).astype(int)]
    return Question(kind, name, chosen.astype(np.int32), flat[:, chosen], right)
