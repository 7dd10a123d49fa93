"""The rollout: which steps are generated, from which image, in which batch."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recipevis import images
from recipevis.data.tables import samples
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.model.networks import Backbone
from recipevis.sampling import rollout


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
    """Stands for a sampler: an image's colour is the number of the call; remembers what it was given."""

    pipeline: object
    seed: int = 0
    calls: list = field(default_factory=list)

    def generate(self, keys, prompts, previous):
        previous = [None if image is None else np.array(image) for image in previous]
        self.calls.append((list(keys), list(prompts), previous))
        return [np.full((32, 32, 3), len(self.calls), np.uint8) for _ in keys]


@pytest.fixture
def one_at_a_time(monkeypatch):
    """Chains of batches run in turn, so that calls have an order."""
    monkeypatch.setattr(rollout, "threads", lambda device: 1)


def test_plan_keeps_unscored_steps_and_leaves_out_recipes_without_any_frame(recipes, triplets):
    table = rollout.plan(recipes, triplets, None)
    assert table["video_id"].unique().tolist() == ["a", "b", "c"]
    assert table[table["video_id"] == "c"]["scored"].tolist() == [1, 0, 0, 1]
    assert table[table["scored"] == 1]["sample_id"].tolist() == [
        key for key, subset in zip(triplets["sample_id"], triplets["subset"], strict=True) if subset == "validation"
    ]
    assert rollout.plan(recipes, triplets, 2)["video_id"].unique().tolist() == ["a", "b"]
    assert list(table) == samples.COLUMNS


@pytest.fixture
def generated(recipes, triplets, pipeline, tmp_path, one_at_a_time):
    """A function: generate with a recorder; returns the plan and the recorder."""

    def run(recipes=recipes, batch_size=16):
        recorder, table = Recorder(pipeline), rollout.plan(recipes, triplets, None)
        rollout.generate_with_model(table, recorder, batch_size, tmp_path / "samples")
        return table, recorder

    return run


def test_each_step_is_generated_from_the_one_before(generated, triplets):
    table, recorder = generated()
    keys = [call[0] for call in recorder.calls]
    assert keys[:4] == [["a_00", "b_00", "c_00"], ["a_01", "b_01", "c_01"], ["a_02", "c_02"], ["c_03"]]
    assert recorder.calls[0][2] == [None] * 3
    colours = [[int(image.flat[0]) for image in call[2]] for call in recorder.calls[1:4]]
    assert colours == [[1] * 3, [2] * 2, [3]]  # what the call before has generated
    assert keys[4] == table[table["scored"] == 1]["sample_id"].tolist()
    for key, sentence, previous in zip(*recorder.calls[4], strict=True):
        row = triplets.set_index("sample_id").loc[key]
        assert sentence == row["sentence"]
        if row["previous_image"]:
            assert np.array_equal(previous, images.read(row["previous_image"]))
        else:
            assert previous is None


def test_the_wrong_image_is_one_of_another_recipe(generated):
    table, recorder = generated()
    scored = table[table["scored"] == 1]
    assert recorder.calls[5][:2] == (scored["sample_id"].tolist(), scored["sentence"].tolist())
    own = {video: [images.read(path) for path in rows["image"]] for video, rows in scored.groupby("video_id")}
    for video, given in zip(scored["video_id"], recorder.calls[5][2], strict=True):
        assert not any(np.array_equal(given, frame) for frame in own[video])
        assert any(np.array_equal(given, frame) for other in own.keys() - {video} for frame in own[other])


def test_a_single_recipe_has_no_wrong_image(generated, recipes, tmp_path):
    generated(recipes[:2])
    assert not list((tmp_path / "samples").glob("wrong_previous/*"))


def test_files_of_the_model(generated, tmp_path):
    table, _ = generated()
    scored = sorted(table[table["scored"] == 1]["sample_id"])
    sets = {"autoregressive": sorted(table["sample_id"]), "teacher_forced": scored, "wrong_previous": scored}
    for name, keys in sets.items():
        assert sorted(path.stem for path in (tmp_path / "samples" / name).iterdir()) == keys


def test_baselines(recipes, triplets, tiny_backbone, tmp_path):
    """The untouched backbone sees no image; the round trip equals the VAE's own answer."""
    backbone, table = Backbone(tiny_backbone), rollout.plan(recipes, triplets, None)
    sampler = rollout.Sampler(rollout.untouched_backbone(backbone, 32, "white"), 0, 2, 1.0)
    rollout.generate_baselines(table, sampler, 16, tmp_path / "samples")
    scored = table[table["scored"] == 1]
    for name in ("untouched_backbone", "vae_round_trip"):
        there = sorted(path.stem for path in (tmp_path / "samples" / name).iterdir())
        assert there == sorted(scored["sample_id"])
    row = scored.iloc[1]
    with torch.no_grad():
        latents = backbone.vae.encode(images.to_vae([images.read(row["image"])])).latent_dist.mean
        decoded = images.from_vae(backbone.vae.decode(latents).sample)[0]
    saved = images.read(tmp_path / "samples" / "vae_round_trip" / f"{row['sample_id']}.png").astype(int)
    assert np.abs(saved - decoded).max() <= 1
    alone = sampler.generate([row["sample_id"]], [row["sentence"]], [None])[0].astype(int)
    saved = images.read(tmp_path / "samples" / "untouched_backbone" / f"{row['sample_id']}.png")
    assert np.abs(alone - saved).max() <= 1  # another batch size may round differently


def test_whole_batches_are_not_generated_again(generated, tmp_path):
    _, first = generated(batch_size=2)
    (tmp_path / "samples" / "autoregressive" / "b_01.png").unlink()
    _, second = generated(batch_size=2)
    assert [call[0] for call in second.calls] == [["a_01", "b_01"]]
    assert len(first.calls) == 6 + 4 + 4


def test_threads_change_no_image(recipes, triplets, pipeline, tmp_path, monkeypatch):
    """On four threads, which share one pipeline, as on one."""
    table, sets = rollout.plan(recipes, triplets, None), []
    for count in (1, 4):
        monkeypatch.setattr(rollout, "threads", lambda device, count=count: count)
        rollout.generate_with_model(table, rollout.Sampler(pipeline, 0, 2, 2.0), 2, tmp_path / str(count))
        files = sorted((tmp_path / str(count)).rglob("*.png"))
        sets.append({path.relative_to(tmp_path / str(count)): path.read_bytes() for path in files})
    assert sets[0] == sets[1]
    assert len(sets[0]) == 9 + 7 + 7


def test_an_error_ends_every_chain(recipes, triplets, pipeline, tmp_path, monkeypatch):
    """Otherwise the error would show after hours, when the autoregressive chain ends."""
    monkeypatch.setattr(rollout, "threads", lambda device: 2)
    failed, before = Event(), rollout.images.read

    def read(path):
        if Path(path).parent == tmp_path:  # the ground truth; the autoregressive chain reads generated images
            failed.set()
            raise OSError("gone")
        assert failed.wait(20)
        return before(path)

    monkeypatch.setattr(rollout.images, "read", read)
    table, sampler = rollout.plan(recipes, triplets, None), rollout.Sampler(pipeline, 0, 2, 2.0)
    with pytest.raises(OSError, match="gone"):
        rollout.generate_with_model(table, sampler, 1, tmp_path / "out")
    assert len(list((tmp_path / "out/autoregressive").glob("*.png"))) < 9


def test_noise_depends_on_seed_and_sample_alone(pipeline):
    sampler = rollout.Sampler(pipeline, 0, 2, 2.0)
    together = sampler.generate(["x", "y"], ["add salt", "stir"], [None, None])
    alone = sampler.generate(["y"], ["stir"], [None])
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1  # another batch size may round differently
    other_seed = rollout.Sampler(pipeline, 1, 2, 2.0).generate(["y"], ["stir"], [None])
    assert np.abs(other_seed[0].astype(int) - alone[0]).max() > 1


def test_a_recipe_is_generated_from_its_own_images(pipeline):
    recorder = Recorder(pipeline)
    list(rollout.generate_recipe(recorder, ["one", "two", "three"]))
    assert [image if image is None else int(image.flat[0]) for call in recorder.calls for image in call[2]] == [
        None,
        1,
        2,
    ]
