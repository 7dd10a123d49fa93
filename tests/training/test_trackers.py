"""What a tracker is given while a model is trained, read back from its files; and that nothing else changes."""

# ruff: noqa: F811
import io
import json
import struct

import numpy as np
import pandas as pd
import pytest
from dvclive import Live
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from recipevis.config import SampleConfig
from recipevis.core.training_log import TrainingLog
from recipevis.sampling.strip import strip_drawer
from recipevis.training.trainer import HISTORY
from tests.training.test_own_images import cache, make, table  # noqa: F401
from tests.training.test_trainer import weights_hash

SAMPLE = SampleConfig.model_construct(
    steps=2, guidance=1.0, image_guidance=None, scheduler="ddpm", batch_size=1, precision="fp32"
)
OFTEN = {"steps": 6, "ema": 0.5, "own_previous": 0.5, "validate_every": 2, "checkpoint_every": 3}


def drawer(trainer, backbone, table):
    return strip_drawer(backbone, trainer.denoiser.conditioner, table, 0, 32, "white", SAMPLE)


def from_tensorboard(folder):
    """Scalars by name, each as (step, value), and the images by step."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    shown = events.Images("validation_recipe")
    return scalars, {event.step: np.array(Image.open(io.BytesIO(event.encoded_image_string))) for event in shown}


def from_dvclive(folder):
    """The same."""
    metrics, scalars = folder / "plots/metrics", {}
    for path in metrics.rglob("*.tsv"):
        rows = pd.read_csv(path, sep="\t")
        name = path.relative_to(metrics).with_suffix("").as_posix()
        scalars[name] = list(zip(rows.iloc[:, 0], rows.iloc[:, 1], strict=True))
    shown = (folder / "plots/images/validation_recipe").glob("*.png")
    return scalars, {int(path.stem): np.array(Image.open(path)) for path in shown}


def from_wandb(folder):
    """The same, of a run that was killed and resumed offline: a file each; a step that is in both is shown once."""
    scalars, shown = {}, {}
    for path in sorted(folder.parent.glob(f"wandb/*-{folder.name}/*.wandb")):
        for values in map(logged, wandb_records(path.read_bytes())):
            step = values.pop("_step")
            for name, value in values.items():
                if name == "validation_recipe/filenames":
                    shown[step] = np.array(Image.open(path.parent / "files" / value[0]))
                else:
                    scalars.setdefault(name, {})[step] = value
    return {name: sorted(by_step.items()) for name, by_step in scalars.items()}, shown


def logged(record):
    """The values of a step."""
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}


def wandb_records(content):
    """The records of a .wandb file: LevelDB's log format after a header of 7 bytes, in blocks of 32 KiB."""
    at, parts, block = 7, b"", 2**15
    while at + 7 <= len(content):
        if block - at % block < 7:  # the rest of a block, too short for a record's head
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record.FromString(parts)
            parts = b""
            if record.HasField("history"):
                yield record


READERS = {"tensorboard": from_tensorboard, "dvclive": from_dvclive, "wandb": from_wandb}


@pytest.mark.parametrize("tracker", READERS)
def test_a_tracked_run_that_was_killed_gives_the_same_bytes_and_shows_each_step_once(
    make, table, tmp_path, monkeypatch, tracker
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    plain, _ = make(**OFTEN)
    expected = plain.run(tmp_path / "plain")
    assert not (tmp_path / "logs").exists()

    killed, backbone = make(**OFTEN, log_with=tracker)
    step, begun = killed.step, []

    def stop(parts):
        begun.append(parts)
        if len(begun) == 6:  # the checkpoint is that of step 3; step 4 has been shown
            raise KeyboardInterrupt
        return step(parts)

    killed.step = stop
    with pytest.raises(KeyboardInterrupt):
        killed.run(tmp_path / "work", TrainingLog(None, HISTORY, "mine", drawer(killed, backbone, table)))
    scalars, _ = READERS[tracker](tmp_path / "logs" / tracker / "mine")
    assert [at for at, _ in scalars["loss"]] == [0, 1, 2, 3]

    resumed, backbone = make(**OFTEN, log_with=tracker)
    draw = drawer(resumed, backbone, table)
    history = resumed.run(tmp_path / "work", TrainingLog(None, HISTORY, "mine", draw))
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    assert weights_hash(resumed.denoiser) == weights_hash(plain.denoiser)

    scalars, shown = READERS[tracker](tmp_path / "logs" / tracker / "mine")
    for name in HISTORY[1:]:
        wanted = history.dropna(subset=name)
        assert [at for at, _ in scalars[name]] == wanted["step"].tolist(), name
        np.testing.assert_allclose([value for _, value in scalars[name]], wanted[name].astype(float), rtol=1e-6)
    assert sorted(shown) == [1, 3, 5]
    assert shown[5].shape == (32, 3 * 32, 3)  # a recipe of three steps
    assert np.array_equal(shown[5], draw())  # the averaged weights drew it
    assert not np.array_equal(shown[1], shown[5])


@pytest.mark.parametrize("images", [2, 3])
def test_the_loss_by_timestep_adds_up_to_the_validation_loss(make, tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    trainer, _ = make(steps=2, validation_images=images, log_with="tensorboard")
    draws = trainer.batches["validation"].validation(0, images)
    history = trainer.run(tmp_path / "work", TrainingLog(None, HISTORY, "mine"))
    events = EventAccumulator(str(tmp_path / "logs/tensorboard/mine")).Reload()
    ranges = draws.timesteps // 200
    names = {f"validation_loss_by_timestep/{200 * number:03d}" for number in ranges.tolist()}
    assert names == {tag for tag in events.Tags()["scalars"] if "timestep" in tag}
    total = sum(
        events.Scalars(f"validation_loss_by_timestep/{200 * number:03d}")[-1].value for number in ranges.tolist()
    )
    assert total / images == pytest.approx(history["validation_loss"].iloc[-1], rel=1e-5)


def test_drawing_leaves_each_module_in_its_mode(make, table):
    trainer, backbone = make()
    trainer.denoiser.conditioner.train()
    backbone.unet.train()
    backbone.unet.conv_in.eval()
    before = [module.training for module in trainer.denoiser.modules()]
    drawer(trainer, backbone, table)()
    assert [module.training for module in trainer.denoiser.modules()] == before
    assert len(set(before)) == 2


def test_dvclive_makes_no_experiment_and_no_pipeline(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    monkeypatch.setattr(Live, "make_dvcyaml", lambda *_: made.append("dvc.yaml"))
    trainer, _ = make(steps=2, log_with="dvclive")
    trainer.run(tmp_path / "work", TrainingLog(None, HISTORY, "mine"))
    assert not made
    assert {path.name for path in tmp_path.iterdir() if path.name != "recipevis-home"} == {"logs", "work"}


def test_a_table_that_a_killed_run_left_empty_gets_its_header(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "logs/dvclive/mine/plots/metrics/loss.tsv"
    table.parent.mkdir(parents=True)
    table.touch()
    trainer, _ = make(steps=2, log_with="dvclive")
    trainer.run(tmp_path / "work", TrainingLog(None, HISTORY, "mine"))
    assert [step for step, _ in from_dvclive(tmp_path / "logs/dvclive/mine")[0]["loss"]] == [0, 1]
