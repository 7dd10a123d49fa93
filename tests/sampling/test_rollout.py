"""The rollout: which steps are generated, from which image, in which batch."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from recipevis import images
from recipevis.sampling import rollout
from recipevis.sampling.plan import plan
from recipevis.sampling.sampler import Sampler, generate_recipe


@dataclass
class Recorder:
    """Stands for a sampler: an image's colour is the number of the call; remembers what it was given."""

    pipeline: object
    seed: int = 0
    calls: list = field(default_factory=list)
    firsts: dict = field(default_factory=dict)

    def generate(self, keys, prompts, previous=None, first=None):
        self.firsts |= {(len(self.calls), key): one for key, one in zip(keys, first or [None] * len(keys), strict=True)}
        previous = [None] * len(keys) if previous is None else previous
        previous = [None if image is None else np.array(image) for image in previous]
        self.calls.append((list(keys), list(prompts), previous))
        return [np.full((32, 32, 3), len(self.calls), np.uint8) for _ in keys]


@pytest.fixture
def one_at_a_time(monkeypatch):
    """Chains of batches run in turn, so that calls have an order."""
    monkeypatch.setattr(rollout, "threads", lambda device: 1)


@pytest.fixture
def generated(recipes, triplets, pipeline, tmp_path, one_at_a_time):
    """A function: generate with a recorder; returns the plan and the recorder."""

    def run(recipes=recipes, batch_size=16):
        recorder, table = Recorder(pipeline), plan(recipes, triplets, None)
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
    later = table[(table["scored"] == 1) & (table["step"] > 0)]
    assert keys[4] == later["sample_id"].tolist()
    for key, sentence, previous in zip(*recorder.calls[4], strict=True):
        row = triplets.set_index("sample_id").loc[key]
        assert sentence == row["sentence"]
        assert np.array_equal(previous, images.read(row["previous_image"]))


def test_the_first_image_is_the_recipes_own_or_the_truth(generated, triplets):
    """A later step whose recipe lacks the first frame gets none; nor does a first step."""
    _, recorder = generated()
    shown = {key: None if one is None else int(np.asarray(one).flat[0]) for key, one in recorder.firsts.items()}
    assert [shown[0, key] for key in ("a_00", "b_00", "c_00")] == [None] * 3
    assert [shown[number, key] for number, key in ((1, "a_01"), (2, "a_02"), (2, "c_02"), (3, "c_03"))] == [1] * 4
    paths = triplets.set_index("sample_id")["image"]
    for key in recorder.calls[4][0]:  # teacher-forced
        assert np.array_equal(recorder.firsts[4, key], images.read(paths[f"{key[:2]}00"]))
    later = [one for (number, _), one in recorder.firsts.items() if number > 4]
    assert later
    assert all(one is None for one in later)  # a wrong image stands for both


def test_a_first_step_is_generated_once_for_both_modes(generated, tmp_path):
    table, _ = generated()
    for sample in table[(table["scored"] == 1) & (table["step"] == 0)]["sample_id"]:
        first, second = (
            (tmp_path / "samples" / mode / f"{sample}.png").read_bytes()
            for mode in ("autoregressive", "teacher_forced")
        )
        assert first == second


def test_a_fuser_that_sees_no_image_generates_once(generated, pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(type(pipeline.conditioner), "uses_image", False)
    table, recorder = generated()
    assert [key for call in recorder.calls for key in call[0]] == table.sort_values("step", kind="stable")[
        "sample_id"
    ].tolist()
    scored = set(table[table["scored"] == 1]["sample_id"])
    for name in ("teacher_forced", "wrong_previous", "no_previous"):
        files = {path.stem: path.read_bytes() for path in (tmp_path / "samples" / name).iterdir()}
        assert files.keys() == scored
        assert all(
            content == (tmp_path / "samples/autoregressive" / f"{sample}.png").read_bytes()
            for sample, content in files.items()
        )


def test_a_dropped_image_changes_nothing(pipeline):
    """No previous image at all, whichever one is given: the forward passes of a fuser without it."""
    random = np.random.default_rng(0)
    given = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(2)]
    noise = {"generator": torch.Generator().manual_seed(0), "num_inference_steps": 2, "guidance_scale": 2.0}

    def draw(image, **settings):
        noise["generator"].manual_seed(0)
        return np.asarray(pipeline("stir", image, drop_image=True, **noise, **settings).images[0])

    assert np.array_equal(draw(given[0]), draw(given[1]))
    assert np.array_equal(draw(given[0], image_guidance_scale=1.0), draw(given[0], image_guidance_scale=5.0))
    noise["generator"].manual_seed(0)
    assert not np.array_equal(draw(None), np.asarray(pipeline("stir", None, **noise).images[0]))  # blank is not dropped


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
    sets = {"autoregressive": sorted(table["sample_id"])}
    sets |= dict.fromkeys(("teacher_forced", "wrong_previous", "no_previous"), scored)
    for name, keys in sets.items():
        assert sorted(path.stem for path in (tmp_path / "samples" / name).iterdir()) == keys


def test_whole_batches_are_not_generated_again(generated, tmp_path):
    _, first = generated(batch_size=2)
    (tmp_path / "samples" / "autoregressive" / "b_01.png").unlink()
    _, second = generated(batch_size=2)
    assert [call[0] for call in second.calls] == [["a_01", "b_01"]]
    assert len(first.calls) == 6 + 2 + 4 + 4


def test_threads_change_no_image(recipes, triplets, pipeline, tmp_path, monkeypatch):
    """On four threads, which share one pipeline, as on one."""
    table, sets = plan(recipes, triplets, None), []
    for count in (1, 4):
        monkeypatch.setattr(rollout, "threads", lambda device, count=count: count)
        rollout.generate_with_model(table, Sampler(pipeline, 0, 2, 2.0), 2, tmp_path / str(count))
        files = sorted((tmp_path / str(count)).rglob("*.png"))
        sets.append({path.relative_to(tmp_path / str(count)): path.read_bytes() for path in files})
    assert sets[0] == sets[1]
    assert len(sets[0]) == 9 + 7 + 7 + 7


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
    table, sampler = plan(recipes, triplets, None), Sampler(pipeline, 0, 2, 2.0)
    with pytest.raises(OSError, match="gone"):
        rollout.generate_with_model(table, sampler, 1, tmp_path / "out")
    assert len(list((tmp_path / "out/autoregressive").glob("*.png"))) < 9


def test_noise_depends_on_seed_and_sample_alone(pipeline):
    sampler = Sampler(pipeline, 0, 2, 2.0)
    together = sampler.generate(["x", "y"], ["add salt", "stir"], [None, None])
    alone = sampler.generate(["y"], ["stir"], [None])
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1  # another batch size may round differently
    other_seed = Sampler(pipeline, 1, 2, 2.0).generate(["y"], ["stir"], [None])
    assert np.abs(other_seed[0].astype(int) - alone[0]).max() > 1


def test_a_recipe_is_generated_from_its_own_images(pipeline):
    recorder = Recorder(pipeline)
    list(generate_recipe(recorder, ["one", "two", "three"]))
    assert [image if image is None else int(image.flat[0]) for call in recorder.calls for image in call[2]] == [
        None,
        1,
        2,
    ]


def test_a_recipe_can_start_from_a_photo(pipeline):
    """The photo is the first step's previous image; the recipe's first image is still the first that is drawn."""
    recorder, photo = Recorder(pipeline), np.full((40, 30, 3), 99, np.uint8)
    drawn = list(generate_recipe(recorder, ["one", "two", "three"], photo))
    assert [int(call[2][0].flat[0]) for call in recorder.calls] == [99, 1, 2]
    firsts = [recorder.firsts[step, str(step)] for step in range(3)]
    assert firsts[0] is None
    assert all(np.array_equal(first, drawn[0]) for first in firsts[1:])


def test_steps_that_are_kept_are_not_drawn_again(pipeline):
    recorder, kept = Recorder(pipeline), [np.full((32, 32, 3), 50 + step, np.uint8) for step in range(2)]
    photo = np.full((32, 32, 3), 99, np.uint8)
    assert len(list(generate_recipe(recorder, ["one", "two", "three", "four"], photo, kept))) == 2
    assert [call[0] for call in recorder.calls] == [["2"], ["3"]]  # the noise is that of the whole recipe
    assert [call[1] for call in recorder.calls] == [["three"], ["four"]]
    assert [int(call[2][0].flat[0]) for call in recorder.calls] == [51, 1]
    assert all(int(recorder.firsts[number, str(number + 2)].flat[0]) == 50 for number in range(2))
    assert not list(generate_recipe(recorder, ["one", "two"], None, kept))


def test_redrawing_from_a_step_on_gives_the_same_images(pipeline):
    sampler, sentences = Sampler(pipeline, 0, 2, 2.0), ["melt", "stir", "serve"]
    whole = list(generate_recipe(sampler, sentences))
    again = list(generate_recipe(sampler, sentences, kept=whole[:1]))
    assert all(np.array_equal(one, other) for one, other in zip(whole[1:], again, strict=True))
    photo = np.random.default_rng(0).integers(0, 256, (50, 20, 3), np.uint8)
    assert not np.array_equal(next(generate_recipe(sampler, sentences, photo)), whole[0])
