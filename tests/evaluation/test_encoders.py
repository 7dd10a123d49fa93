import numpy as np
import torch
from transformers import CLIPImageProcessorPil, CLIPVisionModel

from recipevis.evaluation import encoders


def test_vectors_are_the_pooled_outputs_whatever_the_batch(tiny_backbone):
    images = list(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    vectors = encoders.ClipImages(tiny_backbone / "clip", "cpu", batch_size=2).pooled(images)
    assert vectors.dtype == np.float32
    processor = CLIPImageProcessorPil.from_pretrained(tiny_backbone / "clip")
    network = CLIPVisionModel.from_pretrained(tiny_backbone / "clip")
    with torch.no_grad():
        expected = network(**processor(images, return_tensors="pt")).pooler_output.numpy()
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)


def test_a_folder_without_an_encoder_is_left_out(tiny_backbone, tmp_path):
    assert list(encoders.load({"clip": tiny_backbone / "clip", "encoder": tmp_path}, "cpu")) == ["clip"]
