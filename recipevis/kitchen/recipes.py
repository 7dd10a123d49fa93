"""Recipes of the rendered kitchen, in YouCook2's form: a plain stand-in for cooking videos.

A recipe is a function of the seed and the video's id alone, so a renderer that knows both needs no file. Its
first sentence names the colours of counter and vessel, each later one adds something or acts on what is there.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recipevis.randomness import numpy_generator

COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "white", "brown")
# Per recipe type: the vessel, what goes into it, and what is done at the end.
TYPES = {
    "salad": ("bowl", ("lettuce", "tomatoes", "onions", "olives", "cheese", "carrots"), "toss"),
    "soup": ("pot", ("carrots", "onions", "beans", "potatoes", "mushrooms", "tomatoes"), "stir"),
    "omelette": ("pan", ("eggs", "mushrooms", "cheese", "tomatoes", "spinach", "onions"), "pepper"),
    "pizza": ("plate", ("cheese", "olives", "mushrooms", "tomatoes", "spinach", "onions"), "salt"),
}
_ADD = ("add {} to the {}", "put {} in the {}", "drop {} into the {}", "scatter {} over the {}")
_ACTS = {
    "toss": "toss everything in the {}",
    "stir": "stir what is in the {}",
    "pepper": "grind black pepper over the {}",
    "salt": "sprinkle salt over the {}",
}


@dataclass(frozen=True)
class Scene:
    """What can be seen.

    Attributes:
        counter: colour of the counter.
        vessel: bowl, pot, pan or plate.
        colour: the vessel's colour.
        contents: ingredients in the vessel, in the order in which they came.
        acts: what was done to them.
        beside: an ingredient that waits beside the vessel, or nothing.
    """

    counter: str
    vessel: str
    colour: str
    contents: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True)
class KitchenStep:
    """One step: when it is, what is said, and the scene before it, at its beginning and when it is done."""

    start_s: int
    end_s: int
    sentence: str
    before: Scene
    begun: Scene
    done: Scene


@dataclass(frozen=True)
class KitchenRecipe:
    """One video: its type, its length in seconds and its steps, with idle time around each."""

    recipe_type: str
    duration_s: int
    steps: tuple[KitchenStep, ...]


def recipe(seed: int, video_id: str) -> KitchenRecipe:
    """The recipe of a video, 3 to 6 steps.

    Args:
        seed: `dataset.seed`.
        video_id: `<subset>-<number>`; the number chooses the type, so that each split has all of them.
    """
    random = numpy_generator(seed, "kitchen", video_id)
    names = tuple(TYPES)
    recipe_type = names[int(video_id.rpartition("-")[2]) % len(names)]
    vessel, ingredients, act = TYPES[recipe_type]
    counter, colour = (COLOURS[index] for index in random.choice(len(COLOURS), 2, replace=False))
    chosen = [ingredients[index] for index in random.permutation(len(ingredients))[: random.integers(1, 5)]]

    scene = Scene(counter, vessel, colour)
    bare = replace(scene, vessel="")
    told = [(f"place a {colour} {vessel} on the {counter} counter", bare, scene)]
    for name in chosen:
        begun, scene = replace(scene, beside=name), replace(scene, contents=(*scene.contents, name))
        told.append((_ADD[random.integers(len(_ADD))].format(name, vessel), begun, scene))
    told.append((_ACTS[act].format(vessel), scene, replace(scene, acts=(act,))))
    return _timed(recipe_type, told, bare, random)


def _timed(
    recipe_type: str, told: list[tuple[str, Scene, Scene]], before: Scene, random: np.random.Generator
) -> KitchenRecipe:
    """Put the steps on a timeline of whole seconds, as YouCook2's."""
    time, steps = int(random.integers(1, 4)), []
    for sentence, begun, done in told:
        end = time + int(random.integers(3, 7))
        steps.append(KitchenStep(time, end, sentence, before, begun, done))
        time, before = end + int(random.integers(1, 4)), done
    return KitchenRecipe(recipe_type, time, tuple(steps))


def youcook2(seed: int, training_videos: int, validation_videos: int) -> dict[str, Any]:
    """Annotations of both splits in YouCook2's form."""
    database = {}
    for subset, videos in (("training", training_videos), ("validation", validation_videos)):
        for number in range(videos):
            video_id = f"{subset}-{number:04d}"
            made = recipe(seed, video_id)
            database[video_id] = {
                "subset": subset,
                "duration": made.duration_s,
                "recipe_type": made.recipe_type,
                "annotations": [
                    {"segment": [step.start_s, step.end_s], "id": index, "sentence": step.sentence}
                    for index, step in enumerate(made.steps)
                ],
            }
    return {"database": database}
