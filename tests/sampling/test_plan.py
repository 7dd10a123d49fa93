"""The plan: which steps are generated, scored, and used for controls."""

import numpy as np
import pandas as pd

from recipevis.data.tables.recipes import Recipe, Step
from recipevis.data.tables.samples import COLUMNS
from recipevis.sampling import plan as module
from recipevis.sampling.plan import plan


def test_plan_keeps_unscored_steps_and_leaves_out_recipes_without_any_frame(recipes, triplets):
    table = plan(recipes, triplets, None)
    assert table["video_id"].unique().tolist() == ["a", "b", "c"]
    assert table[table["video_id"] == "c"]["scored"].tolist() == [1, 0, 0, 1]
    assert table[table["scored"] == 1]["sample_id"].tolist() == [
        key for key, subset in zip(triplets["sample_id"], triplets["subset"], strict=True) if subset == "validation"
    ]
    assert plan(recipes, triplets, 2)["video_id"].unique().tolist() == ["a", "b"]
    assert list(table) == COLUMNS


def many(kinds, steps=3):
    """Recipes of these types, with every frame."""
    recipes = [
        Recipe(f"v{number}", "validation", kind, 9.0, tuple(Step(i, i, i + 1, f"say {i}") for i in range(steps)))
        for number, kind in enumerate(kinds)
    ]
    rows = [
        (f"{r.video_id}_{i:02d}", "validation", r.recipe_type, r.video_id, i, "say", f"{r.video_id}_{i}.png", "")
        for r in recipes
        for i in range(steps)
    ]
    columns = ["sample_id", "subset", "recipe_type", "video_id", "step", "sentence", "image", "previous_image"]
    return recipes, pd.DataFrame(rows, columns=columns)


def test_the_other_image_is_a_frame_of_another_type():
    table = plan(*many("aab" * 5), None).set_index("sample_id")
    kinds = table.groupby("video_id").recipe_type.first()
    others = table.other_image.str.partition("_")[0].map(kinds)
    assert (others != table.recipe_type).all()
    assert table.other_image[table.video_id == "v2"].nunique() > 1
    again = plan(*many("aab" * 5), None).set_index("sample_id")
    assert again.other_image.equals(table.other_image)


def test_the_other_image_makes_do_with_another_video():
    table = plan(*many("aa"), None)
    assert all(not other.startswith(video) for other, video in zip(table.other_image, table.video_id, strict=True))
    assert set(plan(*many("a"), None).other_image) == {""}


def test_the_other_image_is_never_a_missing_frame():
    recipes, triplets = many("ab" * 4)
    table = plan(recipes, triplets[triplets.step == 1], None)
    assert set(table.other_image[table.scored == 1].str[-5:]) == {"1.png"}
    assert set(table.other_image[table.scored == 0]) == {""}


def test_controls_cover_a_spread_of_recipes(monkeypatch):
    monkeypatch.setattr(module, "CONTROL_RECIPES", 4)
    table = plan(*many("ab" * 5), None)
    chosen = table[table.control == 1].video_id.unique().tolist()
    assert chosen == ["v0", "v2", "v5", "v7"]
    assert (table.groupby("video_id").control.nunique() == 1).all()
    few = plan(*many("ab"), None)
    assert np.array_equal(few.control, few.scored)
