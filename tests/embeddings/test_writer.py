"""The cache of embeddings: each distinct item once, equal to the networks' own answers, resumable to the byte."""

import json
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from recipevis import images
from recipevis.core import processes
from recipevis.embeddings import writer
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError
from recipevis.model.networks import Backbone

BLANK = images.blank(32, "white")
SENTENCES = ["stir the soup", "add salt", "stir the soup", "cut the bread"]


@pytest.fixture
def pictures(tmp_path) -> list[str]:
    random, paths = np.random.default_rng(0), []
    for name in ("b", "a", "c"):
        paths.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(paths[-1])
    return [*paths, paths[0], ""]


@pytest.fixture
def backbone(tiny_backbone) -> Backbone:
    return Backbone(tiny_backbone)


def test_each_distinct_item_has_one_row_and_the_null_ones_are_first(backbone, pictures, tmp_path):
    writer.embed(SENTENCES, pictures, backbone, BLANK, 2, tmp_path / "cache")
    cache = Embeddings(tmp_path / "cache")
    assert cache.sentence_rows == {"": 0, "add salt": 1, "cut the bread": 2, "stir the soup": 3}
    assert list(cache.image_rows) == ["", *sorted(set(pictures) - {""})]
    shapes = {name: getattr(cache, name).shape for name in vars(cache) if not name.endswith("rows")}
    assert shapes == {
        "text_tokens": (4, 12, 16),
        "text_pooled": (4, 16),
        "text_projected": (4, 16),
        "image_tokens": (4, 5, 24),
        "image_pooled": (4, 24),
        "latent_mean": (4, 4, 4, 4),
        "latent_logvar": (4, 4, 4, 4),
    }
    assert {getattr(cache, name).dtype for name in shapes} == {np.dtype(np.float16)}


def test_cut_sentences_are_counted_and_one_is_shown(backbone, pictures, tmp_path, capsys):
    """The tiny networks read 12 tokens, a token a letter, two of them special."""
    writer.embed(
        ["cut it", "chop a leek", "chop a leek", "stir the soup"], pictures, backbone, BLANK, 2, tmp_path / "cache"
    )
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "tokens" in line]
    assert "2 of 3 " not in line  # "chop a leek" has 9 letters
    assert "1 of 3 " in line
    assert "stir the sou | p" in line
    writer.embed(["cut it"], pictures, backbone, BLANK, 2, tmp_path / "other")
    assert "tokens" not in capsys.readouterr().out


@torch.no_grad()
def test_rows_equal_the_networks_answers_one_at_a_time(backbone, pictures, tmp_path):
    writer.embed(SENTENCES, pictures, backbone, BLANK, 3, tmp_path / "cache")
    cache = Embeddings(tmp_path / "cache")
    for sentence, row in cache.sentence_rows.items():
        ids = backbone.tokenizer([sentence], padding="max_length", truncation=True, return_tensors="pt").input_ids
        encoded = backbone.text_encoder(ids)
        close(cache.text_tokens[row], encoded.last_hidden_state[0])
        close(cache.text_pooled[row], encoded.pooler_output[0])
        projected = F.normalize(backbone.clip.get_text_features(input_ids=ids).pooler_output, dim=-1)
        close(cache.text_projected[row], projected[0])
    for path, row in cache.image_rows.items():
        picture = images.read(path) if path else BLANK
        pixels = backbone.processor(picture, return_tensors="pt").pixel_values
        seen = backbone.clip.vision_model(pixels)
        close(cache.image_tokens[row], seen.last_hidden_state[0])
        close(cache.image_pooled[row], seen.pooler_output[0])
        unit = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
        latents = backbone.vae.encode(unit * 2 - 1).latent_dist
        close(cache.latent_mean[row], latents.mean[0])
        close(cache.latent_logvar[row], latents.logvar[0])


def close(stored: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(stored.astype(np.float32), expected.numpy(), rtol=2e-3, atol=2e-3)


def test_an_interrupted_embedding_goes_on_to_the_same_bytes(backbone, pictures, tmp_path, monkeypatch):
    writer.embed(SENTENCES, pictures, backbone, BLANK, 2, tmp_path / "undisturbed")
    calls, real = [], writer.encode_images

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(writer, "encode_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.embed(SENTENCES, pictures, backbone, BLANK, 2, tmp_path / "cache")
    monkeypatch.setattr(writer, "encode_images", real)
    read = []
    monkeypatch.setattr(images, "read", lambda path, read_=images.read: read.append(path) or read_(path))
    writer.embed(SENTENCES, pictures, backbone, BLANK, 2, tmp_path / "cache")
    assert len(read) == 2  # the first batch, the blank image and one picture, wasn't done again
    files = {file.name: file.read_bytes() for file in (tmp_path / "undisturbed").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()} == files


class Watched(Backbone):
    """Notes whether each network is loaded in the main thread."""

    def _frozen(self, network):
        assert threading.current_thread() is threading.main_thread()
        return super()._frozen(network)


def test_a_resumed_embedding_loads_no_network_in_a_thread(tiny_backbone, pictures, tmp_path, monkeypatch):
    """The libraries can't load two networks at the same time."""
    writer.embed(SENTENCES, pictures, Backbone(tiny_backbone), BLANK, 1, tmp_path / "cache")
    for kind in ("sentences", "images"):
        (tmp_path / f"cache/{kind}-0-of-1.done").write_text("1")
    monkeypatch.setattr(writer, "threads", lambda device: 2)
    writer.embed(SENTENCES, pictures, Watched(tiny_backbone), BLANK, 1, tmp_path / "cache")


ON_TWO = """
import json
import time

from recipevis.core import files, processes
from recipevis.embeddings import writer
from recipevis.model.networks import Backbone
from tests.embeddings.test_writer import BLANK, SENTENCES

folder, write = processes.given_folder(), files.write_json
if not processes.rank():  # the one that clears the counts comes late
    files.write_json = lambda *arguments: (time.sleep(1), write(*arguments))
pictures = json.loads((folder / "pictures.json").read_text())
writer.embed(SENTENCES, pictures, Backbone(folder / "backbone"), BLANK, 1, folder / "cache")
"""


@pytest.mark.slow
def test_counts_of_work_that_begins_anew_are_void_on_every_process(
    tiny_backbone, pictures, tmp_path, monkeypatch, root
):
    """As a kill leaves them that came while the first process began to clear them: rows must not stay empty."""
    writer.embed(SENTENCES, pictures, Backbone(tiny_backbone), BLANK, 1, tmp_path / "undisturbed")
    (tmp_path / "cache").mkdir()
    for kind in ("sentences", "images"):
        (tmp_path / f"cache/{kind}-1-of-2.done").write_text("2")
    (tmp_path / "backbone").symlink_to(tiny_backbone)
    (tmp_path / "pictures.json").write_text(json.dumps(pictures))
    (tmp_path / "on_two.py").write_text(ON_TWO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    assert processes.launch("on_two", 2, tmp_path)
    files = {file.name: file.read_bytes() for file in (tmp_path / "undisturbed").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()} == files


def test_what_is_not_finite_is_named(backbone, tmp_path, monkeypatch):
    real = writer.encode_sentences

    def spoilt(encoder, tokenizer, sentences):
        tokens, pooled = real(encoder, tokenizer, sentences)
        tokens[list(sentences).index("add salt")] = 1e9  # more than fp16 holds
        return tokens, pooled

    monkeypatch.setattr(writer, "encode_sentences", spoilt)
    with pytest.raises(InputError, match="text_tokens of 'add salt' is not finite"):
        writer.embed(SENTENCES, [], backbone, BLANK, 8, tmp_path / "cache")
