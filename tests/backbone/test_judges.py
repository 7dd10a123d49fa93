"""Encoders that measure: each kind against transformers' own answer."""

import json
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from recipevis.backbone import judges, weights
from recipevis.backbone.encoder import IMAGE, check_encoder, fetch_encoder
from recipevis.backbone.kitchen import NETWORKS
from recipevis.backbone.untrained import byte_tokenizer
from recipevis.errors import InputError
from recipevis.evaluation import encoders

IMAGES = list(np.random.default_rng(0).integers(0, 256, (5, 40, 32, 3), dtype=np.uint8))
SENTENCES = ["add salt", "stir", "chop the onions " * 40]
SIZE = {"height": 32, "width": 32}


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """A SigLIP with random weights, in hub layout."""
    folder = tmp_path_factory.mktemp("siglip")
    layers = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    text = layers | {"vocab_size": 520, "max_position_embeddings": 16, "projection_size": 16}
    torch.manual_seed(0)
    SiglipModel(
        SiglipConfig(text_config=text, vision_config=layers | {"image_size": 32, "patch_size": 16})
    ).save_pretrained(folder)
    words = byte_tokenizer(520, 16)
    words.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>", model_max_length=16
    ).save_pretrained(folder)
    SiglipImageProcessorPil(size=SIZE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """A DINOv2 with random weights, in hub layout."""
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIZE).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_clip_is_transformers_own(tiny_backbone):
    folder = tiny_backbone / "clip"
    judge = judges.open_judge(folder, "cpu", batch_size=2)
    network, processor = CLIPModel.from_pretrained(folder).eval(), CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor(IMAGES, return_tensors="pt").pixel_values
    made = judge.images(IMAGES)
    assert {vectors.dtype for vectors in made.values()} == {np.dtype(np.float32)}
    pooled = network.vision_model(pixels).pooler_output
    np.testing.assert_allclose(made["pooled"], pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        made["projected"], network.get_image_features(pixels).pooler_output, rtol=1e-5, atol=1e-6
    )
    tokens = judge.tokenizer(SENTENCES, padding="max_length", truncation=True, return_tensors="pt").input_ids
    expected = network.get_text_features(tokens).pooler_output
    np.testing.assert_allclose(judge.sentences(SENTENCES), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_siglip_is_transformers_own(siglip):
    judge = judges.open_judge(siglip, "cpu", batch_size=2)
    network, processor = SiglipModel.from_pretrained(siglip).eval(), SiglipImageProcessorPil.from_pretrained(siglip)
    pixels = processor(IMAGES, return_tensors="pt").pixel_values
    tokens = judge.tokenizer(SENTENCES, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert tokens.shape == (3, 16)
    whole = network(input_ids=tokens, pixel_values=pixels)
    unit = {
        name: vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for name, vectors in judge.images(IMAGES).items()
    }
    np.testing.assert_allclose(unit["projected"], whole.image_embeds, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(unit["pooled"], unit["projected"])
    words = judge.sentences(SENTENCES)
    np.testing.assert_allclose(
        words / np.linalg.norm(words, axis=1, keepdims=True), whole.text_embeds, rtol=1e-4, atol=1e-6
    )


@torch.no_grad()
def test_dinov2_is_transformers_own(dinov2):
    judge = judges.open_judge(dinov2, "cpu", batch_size=2)
    network, processor = Dinov2Model.from_pretrained(dinov2).eval(), BitImageProcessorPil.from_pretrained(dinov2)
    expected = network(processor(IMAGES, return_tensors="pt").pixel_values).last_hidden_state[:, 0]
    assert not judge.has_text
    np.testing.assert_allclose(judge.images(IMAGES)["pooled"], expected, rtol=1e-5, atol=1e-6)


def test_each_role_takes_its_kinds_alone(siglip, dinov2, tiny_backbone, tmp_path):
    fetch_encoder(str(siglip), None, tmp_path / "a", 32)
    fetch_encoder(str(dinov2), None, tmp_path / "b", 32, IMAGE)
    assert json.loads((tmp_path / "b/encoder.json").read_text())["encoder"] == str(dinov2)
    with pytest.raises(InputError, match=r"dinov2.*siglip"):
        fetch_encoder(str(with_a_tokenizer(dinov2, siglip, tmp_path / "dino")), None, tmp_path / "c", 32)
    with pytest.raises(InputError, match=r"clip.*dinov2"):
        fetch_encoder(str(tiny_backbone / "clip"), None, tmp_path / "d", 32, IMAGE)
    assert not (tmp_path / "c").exists()
    assert check_encoder(str(dinov2), None, IMAGE).state == "ok"
    assert "evaluate.image_encoder_revision" in check_encoder("owner/name", None, IMAGE).text


def with_a_tokenizer(model, words, target):
    """A copy of a model with another's tokenizer."""
    target.mkdir()
    for folder, pattern in ((words, "tokenizer*"), (model, "*")):
        for file in folder.glob(pattern):
            (target / file.name).write_bytes(file.read_bytes())
    return target


def test_only_the_files_that_a_kind_needs_are_used(dinov2):
    names = {file.name for file in dinov2.iterdir()}
    used = weights.used("image_encoder", names | {"pytorch_model.bin", "README.md"})
    assert set(used) == {"config.json", "preprocessor_config.json", "model.safetensors"}


def test_broken_weights_are_refused(dinov2, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in dinov2.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    settings = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 2}))
    with pytest.raises(InputError, match="missing"):
        fetch_encoder(str(broken), None, tmp_path / "target", 32, IMAGE)


def test_threads_share_an_encoder(tiny_backbone):
    judge, barrier, found = judges.open_judge(tiny_backbone / "clip", "cpu"), Barrier(4), []

    def ask():
        barrier.wait()
        found.append(judge.sentences(SENTENCES))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(one, found[0]) for one in found)


def test_folders_without_an_encoder_are_left_out(tiny_backbone, tmp_path):
    assert list(encoders.load({"clip": tiny_backbone / "clip", "encoder": tmp_path}, "cpu")) == ["clip"]


def test_the_kitchen_ships_its_own():
    for name, has_text in (("encoder", True), ("image_encoder", False)):
        judge = judges.open_judge(NETWORKS / name, "cpu")
        assert judge.has_text == has_text
        assert all(np.isfinite(vectors).all() for vectors in judge.images(IMAGES).values())
