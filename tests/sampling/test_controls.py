import pandas as pd

from recipevis.sampling.controls import other_recipe

SAMPLES = pd.DataFrame(
    [(f"v{video}_{step:02d}", kind, f"v{video}", step) for video, kind in enumerate("aab") for step in range(3)],
    columns=["sample_id", "recipe_type", "video_id", "step"],
).assign(image=lambda table: table.sample_id + ".png", previous_image="", scored=1)


def test_other_recipe_is_a_frame_of_another_type():
    keys = [(sample, seed) for sample in SAMPLES.sample_id for seed in range(9)]
    chosen = {key: other_recipe(SAMPLES, *key) for key in keys}
    assert all(path.startswith("v2") != sample.startswith("v2") for (sample, _), path in chosen.items())
    assert len({path for (sample, _), path in chosen.items() if sample == "v2_00"}) > 1  # it depends on the seed
    assert chosen == {key: other_recipe(SAMPLES, *key) for key in reversed(keys)}


def test_other_recipe_makes_do_with_another_video():
    of_one_type = SAMPLES[SAMPLES.recipe_type == "a"]
    assert {other_recipe(of_one_type, "v0_00", seed)[:2] for seed in range(9)} == {"v1"}
    assert other_recipe(SAMPLES[SAMPLES.video_id == "v0"], "v0_00", 0) is None


def test_other_recipe_is_never_a_missing_frame():
    absent = SAMPLES.assign(image=SAMPLES.image.where(SAMPLES.step == 1, ""))
    assert {other_recipe(absent, "v0_00", seed) for seed in range(9)} == {"v2_01.png"}
