"""Captions of the toy kitchen's scenes. Its networks are pretrained on them, as Stable Diffusion was on captions."""

import numpy as np

from recipevis.kitchen.recipes import Scene, worded

_PLACES = (
    "a {colour} {vessel} on a {counter} counter",
    "{colour} {vessel} on the {counter} counter",
    "a {counter} counter with a {colour} {vessel}",
    "on a {counter} counter a {colour} {vessel}",
)
_CONTENTS = (" with {}", " holding {}", " full of {}")
_ACTS = {"toss": "tossed", "stir": "stirred", "fold": "folded", "bake": "baked"}
_BOARDS = ("{} on the board", "on the board {}")
_TOOLS = ("a {} at work", "a {} over it")


def caption(scene: Scene, random: np.random.Generator) -> str:
    """A sentence that names everything visible in a scene with a vessel.

    Args:
        scene: the scene.
        random: chooses the words.
    """

    def say(templates: tuple[str, ...], *things: str) -> str:
        names = {"colour": scene.colour, "vessel": scene.vessel, "counter": scene.counter}
        return worded(random, templates, *things, **names)

    text = say(_PLACES)
    if scene.contents:
        *others, last = scene.contents
        text += say(_CONTENTS, f"{', '.join(others)} and {last}" if others else last)
    more = [_ACTS[act] for act in scene.acts]
    more += [f"{scene.finish} on top"] if scene.finish else []
    more += [say(_BOARDS, scene.board)] if scene.board else []
    more += [say(_TOOLS, scene.tool)] if scene.tool else []
    return ", ".join([text, *more])
