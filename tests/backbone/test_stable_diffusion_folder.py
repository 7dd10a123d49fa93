"""Loading folders with the quirks of the published files of Stable Diffusion v1-4 and CLIP ViT-L/14.

The networks are small and untrained. The quirks: a PNDM schedule without a prediction type, a VAE without a scaling
factor and with old attention names, text weights under `text_model.` with position ids, an end-of-text id of 2 in the
configuration and another in the vocabulary, vocab.json and merges.txt without tokenizer.json, a feature extractor's
configuration with integer sizes, and a safety checker.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPImageProcessorPil

from recipevis.backbone.base import make
from recipevis.config import load
from recipevis.model.networks import Backbone, encode_sentences
from recipevis.model.schedule import load_scheduler
from recipevis.randomness import generator
from recipevis.sampling.pipeline import assemble, load_pipeline
from recipevis.training.trainer import new_conditioner
from tests.conftest import ROOT, TINY, make_untrained

TOKENS = 12
MERGES = ["a d", "ad d</w>", "s a", "l t</w>", "sa lt</w>"]
START, END = "<|startoftext|>", "<|endoftext|>"


def vocabulary() -> dict[str, int]:
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(byte + "</w>" for byte in alphabet), *(merge.replace(" ", "") for merge in MERGES)]
    return {word: number for number, word in enumerate([*words, START, END])}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The same networks as this project writes them."""
    root, size = tmp_path_factory.mktemp("plain"), len(vocabulary())
    configs = shutil.copytree(TINY, root / "configs")
    text = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    change(configs / "text_encoder", lambda values: values | text)
    change(configs / "clip", lambda values: values | {"text_config": values["text_config"] | text})
    return make_untrained(configs, root / "backbone")


@pytest.fixture(scope="module")
def published(plain, tmp_path_factory) -> Path:
    """`diffusion/` and `clip/`, as the hub's two repositories are."""
    root = tmp_path_factory.mktemp("hub")
    diffusion, clip = root / "diffusion", root / "clip"
    shutil.copytree(plain, diffusion, ignore=shutil.ignore_patterns("clip", "backbone.json"))
    shutil.copytree(plain / "clip", clip)
    for folder in (diffusion / "tokenizer", clip):
        publish_tokenizer(folder)
    publish_scheduler(diffusion / "scheduler")
    publish_vae(diffusion / "vae")
    publish_text_encoder(diffusion / "text_encoder")
    publish_clip(clip)
    (diffusion / "safety_checker").mkdir()
    (diffusion / "safety_checker" / "model.safetensors").write_text("never read")
    (diffusion / "model_index.json").write_text("{}")
    return root


def publish_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    token = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    special = {name: token | {"content": END} for name in ("eos_token", "unk_token")}
    special |= {"bos_token": token | {"content": START}, "pad_token": END}
    typed = {name: value | {"__type": "AddedToken"} for name, value in special.items() if name != "pad_token"}
    general = {
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": TOKENS,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(special | typed | general))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))


def publish_scheduler(folder: Path) -> None:
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": None}
    pndm = {"_class_name": "PNDMScheduler", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}
    (folder / "scheduler_config.json").write_text(json.dumps(schedule | pndm | {"num_train_timesteps": 1000}))


def publish_vae(folder: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name: str) -> str:
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        return name

    rewrite(folder, "diffusion_pytorch_model", lambda weights: {renamed(name): w for name, w in weights.items()})
    change(folder, lambda values: {key: value for key, value in values.items() if key != "scaling_factor"})


def publish_text_encoder(folder: Path) -> None:
    position = {"text_model.embeddings.position_ids": torch.arange(TOKENS)[None]}
    rewrite(folder, "model", lambda weights: {f"text_model.{name}": w for name, w in weights.items()} | position)
    change(folder, lambda values: values | {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1})


def publish_clip(folder: Path) -> None:
    def configured(values: dict) -> dict:
        text = values["text_config"] | {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "projection_dim")
        short = {key: text[key] for key in (*sizes, "vocab_size", "max_position_embeddings")}
        short["eos_token_id"] = vocabulary()[END]  # the class's default, which the published file relies on
        vision = {key: value for key, value in values["vision_config"].items() if key != "image_size"}
        older = {"text_config_dict": short, "vision_config_dict": values["vision_config"]}
        return values | {"text_config": text, "vision_config": vision} | older

    position = {"text_model.embeddings.position_ids": torch.arange(TOKENS)[None]}
    position |= {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    rewrite(folder, "model", lambda weights: weights | position)
    change(folder, configured)
    statistics = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    what = {"do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": 16, "crop_size": 16}
    kind = {"feature_extractor_type": "CLIPFeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics | what | kind))


def rewrite(folder: Path, name: str, how) -> None:
    path = folder / f"{name}.safetensors"
    save_file({key: w.contiguous() for key, w in how(load_file(path)).items()}, path, metadata={"format": "pt"})


def change(folder: Path, how) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(how(json.loads(path.read_text()))))


@pytest.fixture(scope="module")
def backbone(published, tmp_path_factory) -> Backbone:
    target = tmp_path_factory.mktemp("loaded") / "backbone"
    folders = {"folder": str(published / "diffusion"), "clip_folder": str(published / "clip")}
    make(load(ROOT / "params.yaml").backbone.model_copy(update={"source": "folder"} | folders), target)
    assert not (target / "safety_checker").exists()
    return Backbone(target)


@pytest.mark.parametrize("name", ["text_encoder", "clip", "vae", "unet"])
def test_all_weights_are_the_published_ones(backbone, plain, name):
    loaded, expected = (getattr(b, name).state_dict() for b in (backbone, Backbone(plain)))
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in loaded)


def test_sentences_are_pooled_at_the_end_of_text(backbone):
    ids, words = backbone.tokenizer("Add salt").input_ids, vocabulary()
    assert ids == [words[START], words["add</w>"], words["salt</w>"], words[END]]
    assert backbone.clip_tokenizer("Add salt").input_ids == ids
    for encoder, tokenizer in (
        (backbone.text_encoder, backbone.tokenizer),
        (backbone.clip.text_model, backbone.clip_tokenizer),
    ):
        tokens, pooled = encode_sentences(encoder, tokenizer, ["Add salt", ""])
        assert tokens.shape == (2, TOKENS, 16)
        assert torch.equal(pooled[0], tokens[0, 3])
        assert torch.equal(pooled[1], tokens[1, 1])


def test_images_are_prepared_as_by_a_processor_with_the_same_sizes(backbone):
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    modern = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    ours, expected = (p(picture, return_tensors="pt").pixel_values for p in (backbone.processor, modern))
    assert torch.equal(ours, expected)


def test_the_schedule_predicts_noise_unclipped_from_step_981(backbone):
    scheduler = load_scheduler(backbone.folder / "scheduler")
    config = scheduler.config
    assert (config.prediction_type, config.clip_sample, config.thresholding) == ("epsilon", False, False)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[0] == 981
    assert backbone.vae.config.scaling_factor == 0.18215


def test_a_pipeline_of_it_is_saved_and_generates_the_same(backbone, tmp_path):
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, condition_tokens=3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white", num_inference_steps=3)
    pipeline.save_pretrained(tmp_path / "model")
    again = load_pipeline(tmp_path / "model", "cpu")
    images = [p("add salt", generator=generator(0), output_type="np").images for p in (pipeline, again)]
    np.testing.assert_allclose(*images, atol=1 / 255)
