"""The rollout: which steps are drawn, from which image, in which batch; the saved pipeline."""

from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from recipevis import images
from recipevis.data.tables import samples
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.errors import InputError, ParameterError
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone
from recipevis.randomness import generator
from recipevis.sampling import rollout
from recipevis.sampling.pipeline import assemble


@pytest.fixture
def pipeline(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    torch.manual_seed(0)
    conditioner = Conditioner("attend_to_image", 4, True, **asdict(backbone.shapes(3)))
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def recipes() -> list[Recipe]:
    def recipe(video: str, subset: str, count: int) -> Recipe:
        steps = tuple(Step(i, 10.0 * i, 10.0 * i + 5, f"step {i} of {video}") for i in range(count))
        return Recipe(video, subset, "soup", 100.0, steps)

    lengths = {"a": 3, "b": 2, "gone": 2, "c": 4}
    return [recipe("t", "training", 2), *(recipe(video, "validation", count) for video, count in lengths.items())]


@pytest.fixture
def triplets(recipes, tmp_path) -> pd.DataFrame:
    """All steps but: none of `gone`; of `c` step 1 has no frame, so that 1 and 2 are no targets."""
    rows, random = [], np.random.default_rng(0)
    for recipe in recipes:
        for step in recipe.steps:
            path = tmp_path / f"{recipe.video_id}_{step.step:02d}.png"
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            if recipe.video_id == "gone" or (recipe.video_id == "c" and step.step in (1, 2)):
                continue
            previous = str(tmp_path / f"{recipe.video_id}_{step.step - 1:02d}.png") if step.step else ""
            key = f"{recipe.video_id}_{step.step:02d}"
            about = (key, recipe.subset, "soup", recipe.video_id, step.step, step.sentence)
            rows.append((*about, str(path), previous))
    columns = ["sample_id", "subset", "recipe_type", "video_id", "step", "sentence", "image", "previous_image"]
    return pd.DataFrame(rows, columns=columns)


@dataclass
class Recorder:
    """Draws nothing: a picture's colour is the number of the call, and remembers what it was shown."""

    pipeline: object
    seed: int = 0
    steps: int = 1
    guidance: float = 1.0
    image_guidance: float | None = None
    calls: list = field(default_factory=list)

    def draw(self, keys, sentences, previous):
        self.calls.append((list(keys), list(sentences), [np.array(picture) for picture in previous]))
        return np.full((len(keys), 32, 32, 3), len(self.calls), np.uint8)


def test_plan_keeps_unscored_steps_and_leaves_out_recipes_without_any_frame(recipes, triplets):
    table = rollout.plan(recipes, triplets, None)
    assert table["video_id"].unique().tolist() == ["a", "b", "c"]
    assert table[table["video_id"] == "c"]["scored"].tolist() == [1, 0, 0, 1]
    assert table[table["scored"] == 1]["sample_id"].tolist() == [
        key for key, subset in zip(triplets["sample_id"], triplets["subset"], strict=True) if subset == "validation"
    ]
    assert rollout.plan(recipes, triplets, 2)["video_id"].unique().tolist() == ["a", "b"]
    assert list(table) == samples.COLUMNS


def drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, folder, batch_size=16):
    recorder, untouched = Recorder(pipeline), Recorder(pipeline)
    monkeypatch.setattr(rollout, "_text_to_image", lambda sampler, backbone: untouched)
    table = rollout.plan(recipes, triplets, None)
    rollout.draw_all(table, recorder, Backbone(tiny_backbone), batch_size, folder)
    return table, recorder, untouched


def test_each_step_is_drawn_from_the_one_drawn_before(
    monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path
):
    table, recorder, _ = drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path / "samples")
    keys = [call[0] for call in recorder.calls]
    assert keys[:4] == [["a_00", "b_00", "c_00"], ["a_01", "b_01", "c_01"], ["a_02", "c_02"], ["c_03"]]
    colours = [[int(picture.flat[0]) for picture in call[2]] for call in recorder.calls[:4]]
    assert colours == [[255] * 3, [1] * 3, [2] * 2, [3]]  # the blank one, then what the call before drew
    assert keys[4] == table[table["scored"] == 1]["sample_id"].tolist()
    for key, sentence, previous in zip(*recorder.calls[4], strict=True):
        row = triplets.set_index("sample_id").loc[key]
        assert sentence == row["sentence"]
        true = images.read(row["previous_image"]) if row["previous_image"] else images.blank(32, "white")
        assert np.array_equal(previous, true)


def test_the_wrong_image_is_one_of_another_recipe(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path):
    table, recorder, _ = drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path / "samples")
    scored = table[table["scored"] == 1]
    assert recorder.calls[5][:2] == (scored["sample_id"].tolist(), scored["sentence"].tolist())
    own = {video: [images.read(path) for path in rows["image"]] for video, rows in scored.groupby("video_id")}
    for video, shown in zip(scored["video_id"], recorder.calls[5][2], strict=True):
        assert not any(np.array_equal(shown, frame) for frame in own[video])
        assert any(np.array_equal(shown, frame) for other in own.keys() - {video} for frame in own[other])


def test_a_single_recipe_has_no_wrong_image(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path):
    drawn(monkeypatch, recipes[:2], triplets, pipeline, tiny_backbone, tmp_path / "samples")
    assert not (tmp_path / "samples" / "wrong_previous").exists()


def test_what_lies_on_disk(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path):
    table, *_ = drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path / "samples")
    scored = sorted(table[table["scored"] == 1]["sample_id"])
    for way, keys in {
        "autoregressive": sorted(table["sample_id"]),
        "teacher_forced": scored,
        "wrong_previous": scored,
        "untouched_backbone": scored,
        "vae_round_trip": scored,
    }.items():
        assert sorted(path.stem for path in (tmp_path / "samples" / way).iterdir()) == keys
    backbone = Backbone(tiny_backbone)
    picture = images.read(table[table["scored"] == 1].iloc[0]["image"])
    with torch.no_grad():
        latents = backbone.vae.encode(images.to_vae([picture])).latent_dist.mean
        decoded = images.from_vae(backbone.vae.decode(latents).sample)[0]
    there = images.read(tmp_path / "samples" / "vae_round_trip" / f"{scored[0]}.png").astype(int)
    assert np.abs(there - decoded).max() <= 1


def test_whole_batches_are_not_drawn_again(monkeypatch, recipes, triplets, pipeline, tiny_backbone, tmp_path):
    folder = tmp_path / "samples"
    *_, first, _ = drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, folder, batch_size=2)
    (folder / "autoregressive" / "b_01.png").unlink()
    _, second, untouched = drawn(monkeypatch, recipes, triplets, pipeline, tiny_backbone, folder, batch_size=2)
    assert [call[0] for call in second.calls] == [["a_01", "b_01"]]
    assert not untouched.calls
    assert len(first.calls) == 6 + 4 + 4


def test_noise_depends_on_seed_and_sample_alone(pipeline):
    sampler = rollout.Sampler(pipeline, 0, 2, 2.0, None)
    blank = pipeline.blank_image
    together = sampler.draw(["x", "y"], ["add salt", "stir"], [blank, blank])
    alone = sampler.draw(["y"], ["stir"], [blank])
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1  # another batch size may round otherwise
    other_seed = rollout.Sampler(pipeline, 1, 2, 2.0, None).draw(["y"], ["stir"], [blank])
    assert np.abs(other_seed[0].astype(int) - alone[0]).max() > 1


def test_guidance_of_one_is_one_conditional_pass(pipeline):
    """Drawn by hand: the scheduler's steps with the conditional prediction alone."""
    blank, sentences = pipeline.blank_image, ["add salt"]
    got = pipeline(sentences, [blank], [generator(0, "k")], steps=3, guidance=1.0)[0]
    random = generator(0, "k")
    latents = torch.randn((4, 4, 4), generator=random)[None]
    condition = pipeline.conditioner(pipeline._embed(sentences, [blank]))
    pipeline.scheduler.set_timesteps(3)
    with torch.no_grad():
        for timestep in pipeline.scheduler.timesteps:
            prediction = pipeline.unet(latents, timestep, encoder_hidden_states=condition).sample
            latents = pipeline.scheduler.step(prediction, timestep, latents, generator=random).prev_sample
    assert np.array_equal(got, pipeline.decode(latents)[0])


def test_a_saved_pipeline_draws_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    again = rollout.load_pipeline(tmp_path / "model", "cpu")
    assert (again.config.pixels, again.config.blank) == (32, "white")
    sentences = ["put the pan on the stove", "add oil", "fry the egg"]
    one, other = (list(rollout.draw_recipe(rollout.Sampler(p, 0, 2, 2.0, None), sentences)) for p in (pipeline, again))
    assert np.abs(np.array(one).astype(int) - np.array(other)).max() <= 1  # loaded weights lie otherwise in memory
    assert len(one) == 3
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_draw_recipe_shows_each_step_the_picture_before(pipeline):
    recorder = Recorder(pipeline)
    list(rollout.draw_recipe(recorder, ["one", "two", "three"]))
    assert [int(call[2][0].flat[0]) for call in recorder.calls] == [255, 1, 2]


def test_a_folder_that_is_no_model_is_told(tmp_path, pipeline):
    with pytest.raises(InputError, match="not a RecipeVis model"):
        rollout.load_pipeline(tmp_path, "cpu")
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match="not a whole RecipeVis model"):
        rollout.load_pipeline(tmp_path / "model", "cpu")


@pytest.mark.parametrize("part", ["conditioner", "unet", "vae"])
def test_a_model_with_broken_weights_is_told(tmp_path, pipeline, part):
    pipeline.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = min(weights)
    save_file({key: w for key, w in weights.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"{part} lacks the weight {name}"):
        rollout.load_pipeline(tmp_path / "model", "cpu")
    path.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="not a whole RecipeVis model"):
        rollout.load_pipeline(tmp_path / "model", "cpu")


def test_a_model_with_broken_text_weights_is_told(tmp_path, pipeline):
    """transformers lets the safetensors library's own error through."""
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "text_encoder" / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="not a whole RecipeVis model"):
        rollout.load_pipeline(tmp_path / "model", "cpu")


def test_a_model_with_a_fuser_from_elsewhere_is_told(tmp_path, pipeline):
    pipeline.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "conditioner" / "config.json"
    config.write_text(config.read_text().replace("attend_to_image", "mean"))
    with pytest.raises(InputError, match="its fuser 'mean' is not here; there are baseline, concat"):
        rollout.load_pipeline(tmp_path / "model", "cpu")


def test_more_steps_than_the_schedule_has_are_refused(pipeline):
    with pytest.raises(ParameterError, match="1000"):
        pipeline(["stir"], [pipeline.blank_image], [generator(0)], steps=1001)
