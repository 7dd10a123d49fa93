"""Embed every distinct sentence and frame once with the frozen networks, in fp16.

`data/embeddings/` holds one array for each quantity, with a row for each item, and two lists that name the rows. Row 0
of the sentences is the empty sentence (the null condition), row 0 of the images the blank image (before a first step).

    sentences.json  text_tokens [n, t, e]   text_pooled [n, e]   text_projected [n, q]
    images.json     image_tokens [m, p, v]  image_pooled [m, v]  latent_mean, latent_logvar [m, 4, h, w]

`text_projected` is CLIP's projected, L2-normalised sentence of the cycle loss; latents are not scaled.
For YouCook2 with Stable Diffusion's and CLIP's sizes the arrays take 9.1 GB.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch.nn import functional as F

from recipevis import images
from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.data.vocabulary import Vocabulary, show_cut
from recipevis.errors import InputError
from recipevis.model.networks import Backbone, encode_images, encode_sentences

_NETWORKS = ("text_encoder", "tokenizer", "clip", "clip_tokenizer", "processor", "vae")


def embed(
    sentences: Iterable[str],
    pictures: Iterable[str],
    backbone: Backbone,
    blank: np.ndarray,
    batch_size: int,
    folder: Path,
) -> None:
    """Embed sentences and image files into `folder`. An interrupted call resumes after its last whole batch.

    If several processes call it, each embeds its share of the batches, and all return when all batches are written.

    Args:
        sentences: any number, repeated or not; each distinct one is embedded once, in sorted order.
        pictures: paths of image files, likewise; all of one size.
        backbone: the networks.
        blank: the image before a first step, uint8 [h, w, 3].
        batch_size: sentences or images in a forward pass.
        folder: where the arrays go.

    Raises:
        InputError: an embedding is not finite in fp16; the message names the item.
    """
    state = PartialState(cpu=backbone.device.type == "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    for name in _NETWORKS:  # loading is not thread-safe, so the threads below must find them loaded
        getattr(backbone, name)
    texts = ["", *sorted(set(sentences) - {""})]
    paths = ["", *sorted(set(pictures) - {""})]
    if state.is_main_process:
        files.write_json(folder / "sentences.json", texts)
        files.write_json(folder / "images.json", paths)
        _say_what_is_cut(texts, Vocabulary(backbone.tokenizer))
    _fill(folder, "sentences", texts, batch_size, lambda batch: _embed_sentences(backbone, batch))
    _fill(folder, "images", paths, batch_size, lambda batch: _embed_images(backbone, batch, blank))
    if state.is_main_process:
        for done in folder.glob("*.done"):
            done.unlink()


def _say_what_is_cut(sentences: Sequence[str], vocabulary: Vocabulary) -> None:
    """Print how many sentences are longer than the text encoder reads, and where the first of them is cut."""
    cut = [(sentence, end) for sentence in sentences if (end := vocabulary.end(sentence)) is not None]
    if cut:
        limit = f"have more than {vocabulary.length} tokens; the rest is left out, as in"
        print(f"embed: {len(cut):,} of {len(sentences) - 1:,} sentences {limit}: {show_cut(*cut[0])}", flush=True)


def _embed_sentences(backbone: Backbone, sentences: Sequence[str]) -> dict[str, torch.Tensor]:
    tokens, pooled = encode_sentences(backbone.text_encoder, backbone.tokenizer, sentences)
    _, of_clip = encode_sentences(backbone.clip.text_model, backbone.clip_tokenizer, sentences)
    projected = F.normalize(backbone.clip.text_projection(of_clip), dim=-1)
    return {"text_tokens": tokens, "text_pooled": pooled, "text_projected": projected}


@torch.no_grad()
def _embed_images(backbone: Backbone, paths: Sequence[str], blank: np.ndarray) -> dict[str, torch.Tensor]:
    pictures = [images.read(path) if path else blank for path in paths]
    tokens, pooled = encode_images(backbone.clip.vision_model, backbone.processor, pictures)
    latents = backbone.vae.encode(images.to_vae(pictures).to(backbone.device)).latent_dist
    return {
        "image_tokens": tokens,
        "image_pooled": pooled,
        "latent_mean": latents.mean,
        "latent_logvar": latents.logvar,
    }


def _fill(folder: Path, kind: str, items: Sequence[str], batch_size: int, encode) -> None:
    """Write the arrays of one kind batch by batch, and count the batches that are safely written."""
    state = PartialState()
    counter = folder / f"{kind}-{state.process_index}-of-{state.num_processes}.done"
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    mine = range(len(batches))[state.process_index :: state.num_processes]
    arrays: dict[str, np.ndarray] = {}

    def save(number: int, encoded: dict[str, torch.Tensor]) -> None:
        start, batch = mine[number] * batch_size, batches[mine[number]]
        for name, values in encoded.items():
            rows = values.detach().to(torch.float16).cpu().numpy()
            _check_finite(name, rows, batch)
            if name not in arrays:
                arrays[name] = _open(folder / f"{name}.npy", (len(items), *rows.shape[1:]), fresh=start == 0)
            arrays[name][start : start + len(batch)] = rows
            arrays[name].flush()
        files.write_text(counter, str(number + 1))
        progress.advance(len(batch))

    with state.main_process_first():
        # This number of processes starts anew, so the counts of another number are void.
        if state.is_main_process and not counter.exists():
            for stale in folder.glob(f"{kind}-*.done"):
                stale.unlink()
        done = int(counter.read_text()) if counter.exists() else 0
    sizes = [len(batches[number]) for number in mine]
    with meter(f"embed {kind}", sum(sizes), sum(sizes[:done])) as progress:
        with state.main_process_first():
            if state.is_main_process and not done:  # creates the arrays that all processes write into
                save(0, encode(batches[mine[0]]))
                done = 1
        left = range(done, len(mine))
        encoded = in_order(lambda number: encode(batches[mine[number]]), left, threads(state.device.type))
        for number, values in zip(left, encoded, strict=True):
            save(number, values)
    state.wait_for_everyone()


def _open(path: Path, shape: tuple[int, ...], fresh: bool) -> np.memmap:
    if fresh:
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    return np.lib.format.open_memmap(path, mode="r+")


def _check_finite(name: str, rows: np.ndarray, items: Sequence[str]) -> None:
    finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not finite.all():
        raise InputError(f"{name} of {items[int(np.argmin(finite))]!r} is not finite in fp16")
