import copy
import itertools
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from recipevis import config
from recipevis.config import FUSERS, Config, describe, load
from recipevis.core.files import read_yaml
from recipevis.errors import ParameterError
from recipevis.sampling.guidance import guidance_terms

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def changed(tmp_path):
    """A function: the demo's parameters with some keys set, and others removed, loaded."""

    def change(removed=(), **values):
        tree = YAML().load((ROOT / "params.yaml").read_text())
        for key, value in values.items():
            *groups, name = key.split("__")
            section = tree
            for group in groups:
                section = section[group]
            section[name] = value
        for key in removed:
            del tree[key]
        path = tmp_path / "params.yaml"
        with path.open("w") as file:
            YAML().dump(tree, file)
        return load(path)

    return change


def test_demo_is_offline_and_small():
    demo = load(ROOT / "params.yaml")
    assert demo.dataset.source == "kitchen"
    assert demo.backbone.source == "kitchen"
    assert demo.evaluate.encoder == "kitchen"


def test_paper_parameters_are_the_papers():
    """Section 3, A.1, A.2 and A.3."""
    paper = load(ROOT / "params/paper.yaml")
    assert paper.train.batch_size == 32
    assert paper.train.steps == 100_000
    assert paper.train.learning_rate == 3e-7
    assert paper.train.fuser_learning_rate is None
    assert paper.train.warmup_steps == 0
    assert paper.sample.steps == 50
    assert paper.sample.guidance == 7.5
    assert paper.sample.image_guidance is None
    assert paper.condition_tokens == 3
    assert (paper.frames.pixels, paper.frames.resize) == (256, "squash")
    assert paper.backbone.source == "hub"
    assert paper.backbone.stable_diffusion.id == "CompVis/stable-diffusion-v1-4"
    assert paper.backbone.clip.id == "openai/clip-vit-large-patch14"
    assert paper.dataset.source == "youtube"
    assert (paper.dataset.limit, paper.sample.recipes) == (None, None)


def test_the_large_kitchen_is_the_demo_with_more_of_it():
    """In what makes the kitchen; the fuser, the seed, training and sampling are what an experiment sets in either."""
    demo, large = (load(path).model_dump() for path in (ROOT / "params.yaml", ROOT / "params/kitchen-large.yaml"))
    assert large["dataset"]["kitchen"]["validation_videos"] >= 100
    assert large["train"]["steps"] >= 4000
    demo["dataset"]["kitchen"] = large["dataset"]["kitchen"]
    for group in ("dataset", "frames", "backbone", "embed", "evaluate"):
        assert large[group] == demo[group], group


def test_parameters_are_frozen():
    demo = load(ROOT / "params.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        demo.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        demo.train.steps = 1


def test_numbers_are_read_as_yaml_1_2(changed):
    """DVC reads `3e-7` as a number; PyYAML reads it as text."""
    assert changed(train__learning_rate=3e-7).train.learning_rate == 3e-7
    for path in (ROOT / "params.yaml", *(ROOT / "params").glob("*.yaml")):
        assert isinstance(load(path).train.learning_rate, float)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"fuser": "concatt"}, ["fuser", "'concatt'", *FUSERS]),
        ({"fuser": None}, ["fuser", "empty", "string"]),
        ({"fuser_hidden": "wide"}, ["fuser_hidden", "'wide'", "'matched'"]),
        ({"fuser_hidden": 0}, ["fuser_hidden", "0", "'matched'"]),
        ({"seed": -1}, ["seed", "-1", "0"]),
        ({"seed": True}, ["seed", "True", "integer"]),
        ({"device": "gpu"}, ["device", "'gpu'", "cuda"]),
        ({"dataset__source": "vimeo"}, ["dataset.source", "'vimeo'", "kitchen", "local", "youtube"]),
        ({"dataset__source": "local"}, ["dataset.annotations", "empty", "'local'"]),
        ({"dataset__source": "local", "dataset__annotations": "a.json"}, ["dataset.videos_dir", "empty", "'local'"]),
        ({"dataset__url": "https://example.org/"}, ["dataset.url", "'https://example.org/'", "{video_id}"]),
        ({"dataset__limit": 0}, ["dataset.limit", "0", "1"]),
        ({"dataset__kitchen__training_videos": 0}, ["dataset.kitchen.training_videos", "0", "1"]),
        ({"download__pause_s": [5]}, ["download.pause_s", "[5]", "2"]),
        ({"download__pause_s": [5, -1]}, ["download.pause_s.1", "-1", "0"]),
        ({"download__pause_s": [10, 5]}, ["download.pause_s", "[10.0, 5.0]"]),
        ({"sample__steps": 1001}, ["sample.steps", "1001", "1000"]),
        ({"frames__pixels": 8}, ["frames.pixels", "8", "16"]),
        ({"frames__pixels": 100}, ["frames.pixels", "100", "8"]),
        ({"frames__pixels": 64.0}, ["frames.pixels", "64.0", "integer"]),
        ({"frames__blank": "grey"}, ["frames.blank", "'grey'", "'white'", "'black'"]),
        ({"evaluate__encoder": "none"}, ["evaluate.encoder", "'none'", "empty"]),
        ({"dataset__videos_dir": "NULL"}, ["dataset.videos_dir", "'NULL'", "empty"]),
        ({"backbone__source": "folder"}, ["backbone.folder", "empty", "'folder'"]),
        ({"backbone__clip__revision": "main"}, ["backbone.clip.revision", "'main'", "[0-9a-f]{40}"]),
        ({"backbone__random": "large"}, ["backbone.random", "'large'", "tiny", "stable-diffusion-v1-4"]),
        ({"train__steps": -1}, ["train.steps", "-1", "0"]),
        ({"train__steps": "many"}, ["train.steps", "'many'", "integer"]),
        ({"train__learning_rate": 0}, ["train.learning_rate", "0"]),
        ({"train__learning_rate": float("nan")}, ["train.learning_rate", "nan"]),
        ({"train__dropout_text": 1.5}, ["train.dropout_text", "1.5", "1"]),
        ({"train__dropout_text": 0.5, "train__dropout_both": 0.6}, ["train.dropout_text", "1.15", "1"]),
        ({"train__accumulation": 3}, ["train.accumulation", "3", "batch_size = 16"]),
        ({"train__ema": 1}, ["train.ema", "1"]),
        ({"train__precision": "fp8"}, ["train.precision", "'fp8'", "'bf16'"]),
        ({"cycle__max_amplification": 0}, ["cycle.max_amplification", "0"]),
        ({"condition": "add"}, ["condition", "'add'", "'replace'", "'append'"]),
        ({"condition": "append", "fuser": "baseline"}, ["condition", "'append'", "baseline", "'replace'"]),
        ({"first_latent": True, "previous_latent": False}, ["first_latent", "previous_latent"]),
        ({"previous_latent": "yes"}, ["previous_latent", "'yes'"]),
        ({"dataset__kitchen__camera_cuts": 2}, ["dataset.kitchen.camera_cuts", "2"]),
        ({"train__lora_rank": 0}, ["train.lora_rank", "0", "1"]),
        ({"train__min_snr_gamma": 0}, ["train.min_snr_gamma", "0"]),
        ({"sample__scheduler": "euler"}, ["sample.scheduler", "'euler'", "'ddpm'", "'dpm-solver++'"]),
        ({"sample__image_guidance": 2}, ["sample.image_guidance", "2", "train.dropout_text"]),
        ({"sample__guidance": 3, "train__dropout_both": 0}, ["sample.guidance", "3", "train.dropout_both"]),
        ({"train__processes": 2, "embed__processes": 2, "device": "cuda:1"}, ["device", "'cuda:1'", "'cuda'"]),
        ({"sample__guidance": -1}, ["sample.guidance", "-1", "0"]),
        ({"evaluate__resamples": 10}, ["evaluate.resamples", "10", "100"]),
        ({"train": 5}, ["train", "5"]),
        ({"fusser": "concat"}, ["fusser", "'concat'", "fuser?"]),
        ({"train__step": 5}, ["train.step", "5", "steps?"]),
        ({"backbone__clip__name": 5}, ["backbone.clip.name", "5", "id, revision"]),
        ({"removed": ["seed"]}, ["seed"]),
        ({"removed": ["cycle"]}, ["cycle"]),
        ({"fuser_options": {"heads": 4}}, ["fuser_options.heads", "4", "baseline"]),
        ({"fuser_options": {"hidden": 4}}, ["fuser_options.hidden", "fuser_hidden"]),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(changed, values, named):
    with pytest.raises(ParameterError) as caught:
        changed(**values)
    message = str(caught.value)
    assert "\n" not in message
    assert message.partition("params.yaml: ")[2].startswith(named[0]), message
    for part in named:
        assert part in message, message


def test_every_wrong_key_is_named(changed):
    with pytest.raises(ParameterError, match=r"seed = -1.*; train\.steps = -2"):
        changed(seed=-1, train__steps=-2)


@pytest.mark.parametrize(
    "content", [b"fuser: [", b"\xff\xfe", b"", b"- 1\n"], ids=["not YAML", "not UTF-8", "empty", "a list"]
)
def test_a_file_that_is_no_parameter_file_is_refused(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"params\.yaml") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_key_with_alternatives_is_named_once(changed):
    with pytest.raises(ParameterError) as caught:
        changed(fuser_hidden="wide")
    assert str(caught.value).count("fuser_hidden") == 1


def test_a_scale_of_its_own_for_the_image_needs_what_it_asks_for(changed):
    both = {"train__dropout_text": 0.05, "train__dropout_both": 0.1}
    assert changed(sample__image_guidance=2, **both).sample.image_guidance == 2
    assert changed(sample__image_guidance=1).sample.image_guidance == 1  # the sentence's


@pytest.mark.parametrize("guidance", [0, 1, 2])
@pytest.mark.parametrize("image_guidance", [None, 0, 1, 2])
@pytest.mark.parametrize("latent", [True, False])
@pytest.mark.parametrize("fuser", ["text_only", "attend_to_image"])
def test_a_prediction_with_a_weight_must_be_trained(changed, guidance, image_guidance, latent, fuser):
    """What is refused, against the terms of the guided sampling."""
    uses_image = latent or fuser == "attend_to_image"
    scale = guidance if image_guidance is None else image_guidance
    asked = {(term.text, term.image) for term in guidance_terms(guidance, scale, True, uses_image)}
    needed = {"dropout_both": (False, False) in asked, "dropout_text": uses_image and (False, True) in asked}
    model = {"fuser": fuser, "previous_latent": latent, "first_latent": False}
    for shares in itertools.product([0, 0.1], repeat=2):
        values = dict(zip(needed, shares, strict=True))
        given = {f"train__{key}": share for key, share in values.items()}
        settings = {"sample__guidance": guidance, "sample__image_guidance": image_guidance} | given | model
        if any(needed[key] and not values[key] for key in needed):
            with pytest.raises(ParameterError, match="guidance"):
                changed(**settings)
        else:
            changed(**settings)


def test_limits_are_allowed_values(changed):
    assert changed(sample__steps=1000).sample.steps == 1000
    assert changed(frames__pixels=16).frames.pixels == 16
    assert changed(download__pause_s=[5, 5]).download.pause_s == [5, 5]


def test_a_missing_file(tmp_path):
    with pytest.raises(ParameterError, match="No such file"):
        load(tmp_path / "params.yaml")


def test_a_key_given_twice(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + "seed: 1\n")
    with pytest.raises(ParameterError, match=r"duplicate key.*seed"):
        load(path)


def test_empty_is_none(changed):
    assert changed(train__fuser_learning_rate=None).train.fuser_learning_rate is None


@pytest.mark.parametrize("name", ["params.yaml", "params/paper.yaml", "params/kitchen-large.yaml"])
def test_an_empty_text_is_an_empty_value_for_every_key(name, monkeypatch):
    """As `dvc exp run -S key=` sets it: where the key may be empty, it is; elsewhere one line says what is allowed."""
    tree, may_be_empty = read_yaml(ROOT / name), set()

    def outcome(key, value):
        section = changed = copy.deepcopy(tree)
        *groups, last = key.split(".")
        for group in groups:
            section = section[group]
        section[last] = value
        monkeypatch.setattr(config, "read_yaml", lambda path: changed)
        try:
            parameters = load(Path("params.yaml"))
        except ParameterError as error:
            return str(error)
        may_be_empty.add(key)
        return parameters

    keys = describe()
    for key in keys:
        empty = outcome(key, None)
        for text in ("", " ", "\t\n"):
            assert outcome(key, text) == empty, key
        if key in may_be_empty:
            value = empty
            for part in key.split("."):
                value = getattr(value, part)
            assert value is None, key
        else:
            assert empty.partition("params.yaml: ")[2].startswith(f"{key} = empty: "), empty
            assert keys[key] in empty or "needs" in empty or "must" in empty, empty
            assert "\n" not in empty
    assert {key for key in keys if "empty:" in keys[key]} <= may_be_empty
    always = {"dataset.limit", "execution.dask", "backbone.clip_folder", "train.ema", "sample.recipes"}
    assert always <= may_be_empty
    assert not {"fuser", "seed", "download.format", "dataset.url", "backbone.random", "train.steps"} & may_be_empty


def test_empty_texts_in_lists_and_options_are_empty_values(changed):
    with pytest.raises(ParameterError, match=r"download\.pause_s\.1 = empty: .*number"):
        changed(download__pause_s=[5.0, ""])
    with pytest.raises(ParameterError, match=r"fuser_options\.heads"):
        changed(fuser="attend_to_image", fuser_options={"heads": " "})
    with pytest.raises(ParameterError, match=r"dataset\.videos_dir = empty: "):
        changed(dataset__source="local", dataset__annotations="a.json", dataset__videos_dir=" ")


def test_dvc_sets_an_option_of_the_fuser(tmp_path):
    """As `dvc exp run -S +fuser_options.heads=4` does; a value in braces is refused by DVC."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(path, ["+fuser_options.heads=4"])
    assert YAML(typ="safe").load(path.read_text())["fuser_options"] == {"heads": 4}
    with pytest.raises(ParameterError, match=r"fuser_options\.heads"):
        load(path)


def test_matched_is_a_width(changed):
    assert changed(fuser_hidden="matched").fuser_hidden == "matched"


def test_every_key_has_a_description():
    described = describe()
    assert all(described.values())
    assert "backbone.clip.id" in described
    assert not [key for key in described if isinstance(getattr(Config, key, None), property)]


def test_a_tracker_that_is_not_installed_is_refused(changed, monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    assert changed(train__log_with=None).train.log_with is None
    monkeypatch.setattr(config, "version", missing)
    for tracker in ("tensorboard", "dvclive", "wandb"):
        with pytest.raises(ParameterError, match=rf"train\.log_with = '{tracker}'.*pip install .*track"):
            changed(train__log_with=tracker)
    monkeypatch.setattr(config, "version", lambda package: "1.0")
    assert changed(train__log_with="wandb").train.log_with == "wandb"
    with pytest.raises(ParameterError, match=r"train\.log_with = 'mlflow'"):
        changed(train__log_with="mlflow")
