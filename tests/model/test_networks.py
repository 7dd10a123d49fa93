"""The two encoders: which tokens they return, and how they pool."""

import numpy as np
import torch

from recipevis.model.networks import Backbone, encode_images, encode_sentences


def test_text_tokens_are_padded_unmasked_and_pooled_at_the_end_of_text(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    tokens, pooled = encode_sentences(backbone.text_encoder, backbone.tokenizer, ["add", "", "a very long sentence"])
    assert tokens.shape == (3, 12, 16)
    ids = backbone.tokenizer("add").input_ids  # start, a, d, d</w>, end
    assert torch.equal(pooled[0], tokens[0, len(ids) - 1])
    assert torch.equal(pooled[1], tokens[1, 1])
    assert torch.equal(pooled[2], tokens[2, 11])  # truncated: the end of text is the last token
    unmasked = backbone.text_encoder(torch.tensor([ids + [backbone.tokenizer.pad_token_id] * (12 - len(ids))]))
    torch.testing.assert_close(tokens[0], unmasked.last_hidden_state[0])


def test_the_class_token_is_the_first_image_token_and_pooling_normalises_it(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    tokens, pooled = encode_images(backbone.clip.vision_model, backbone.processor, [image])
    assert tokens.shape == (1, 5, 24)
    torch.testing.assert_close(pooled[0], backbone.clip.vision_model.post_layernorm(tokens[0, 0]))
