"""That `benchmarks/sample.py` compares with the forward passes that sampling takes: no fewer, no more."""

import importlib

import numpy as np
import pytest

from recipevis.model.networks import Backbone
from recipevis.sampling.guidance import guidance_terms
from recipevis.sampling.pipeline import assemble
from recipevis.sampling.sampler import Sampler
from recipevis.training.trainer import new_conditioner
from tests.conftest import ROOT


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_bare_forwards_are_those_of_sampling(guidance, tiny_backbone, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark, backbone = importlib.import_module("sample"), Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white")
    pipeline.set_progress_bar_config(disable=True)
    seen = []
    for name in ("unet", "image_encoder", "vae.decoder"):
        network = pipeline.vae.decoder if "." in name else getattr(pipeline, name)
        network.register_forward_pre_hook(lambda module, given, name=name: seen.append((name, given[0].shape)))

    Sampler(pipeline, 0, 4, guidance).generate(["a", "b"], ["stir", "add salt"], [np.zeros((32, 32, 3), np.uint8)] * 2)
    ours, seen[:] = list(seen), []
    benchmark.Bare(pipeline, 2, 4, len(guidance_terms(guidance, guidance, True, True)), "fp32")()
    assert sorted(ours) == sorted(seen)
    assert len(ours) == 4 + 1 + 1
