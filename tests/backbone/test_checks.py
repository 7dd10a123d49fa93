"""Networks that the pipeline can't use are refused in the stage `backbone`, each in one line with the true reason."""

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from recipevis.backbone.encoder import fetch_encoder
from recipevis.errors import InputError
from recipevis.model.networks import Backbone, encode_sentences
from recipevis.model.schedule import load_scheduler
from tests.backbone.folders import CLIP, TEXT, UNET, VAE, change, from_folder, refused, rewrite


def unet(folder, **values):
    """Replace the UNet by one of another configuration."""
    configuration = dict(UNet2DConditionModel.load_config(folder / "unet")) | values
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config(configuration).save_pretrained(folder / "unet")


def nested(folder, tower: str, **values):
    """Set keys of one tower of the whole CLIP's configuration."""
    path = folder / "clip/config.json"
    change(path, {tower: json.loads(path.read_text())[tower] | values})


def extended(folder, resize: bool, **values):
    """Add a token to the tokenizer, and perhaps its embedding to the text encoder."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.add_tokens(["<my-pan>"])
    tokenizer.save_pretrained(folder / "tokenizer")
    if resize:
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
        encoder.resize_token_embeddings(515, mean_resizing=False)
        encoder.save_pretrained(folder / "text_encoder")
    change(folder / "text_encoder/config.json", values)


SCHEDULER = "scheduler/scheduler_config.json"
PREPROCESSOR = "clip/preprocessor_config.json"
QUANTISED = {"quant_method": "bitsandbytes", "load_in_8bit": True, "_load_in_8bit": True}
NAMED = {
    "a UNet of classes": (lambda f: unet(f, num_class_embeds=5), ["unet", "num_class_embeds", "5"]),
    "an unCLIP UNet": (
        lambda f: unet(f, class_embed_type="projection", projection_class_embeddings_input_dim=32),
        ["unet", "class_embed_type", "projection"],
    ),
    "a UNet of timestep classes": (lambda f: unet(f, class_embed_type="timestep"), ["unet", "class_embed_type"]),
    "an SDXL UNet": (
        lambda f: unet(
            f,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64,
        ),
        ["unet", "addition_embed_type", "text_time"],
    ),
    "a latent consistency model": (lambda f: unet(f, time_cond_proj_dim=16), ["unet", "time_cond_proj_dim", "16"]),
    "GLIGEN": (lambda f: unet(f, attention_type="gated"), ["unet", "attention_type"]),
    "a UNet that projects its text": (lambda f: unet(f, encoder_hid_dim=16), ["unet", "encoder_hid_dim"]),
    "learned variance": (lambda f: unet(f, out_channels=8), ["unet", "8x4x4", "4x4x4"]),
    "a UNet of InstructPix2Pix": (lambda f: unet(f, in_channels=8), ["8", "4"]),
    "another class of UNet": (
        lambda f: change(f / "unet/config.json", {"_class_name": "UNetMotionModel"}),
        ["unet", "UNetMotionModel"],
    ),
    "weights that no layer takes": (
        lambda f: rewrite(f / UNET, lambda tensors: tensors | {"conv_in.lora_A": torch.zeros(1)}),
        ["unet", "conv_in.lora_A"],
    ),
    "NaN": (
        lambda f: rewrite(f / UNET, lambda t: t | {"conv_in.bias": t["conv_in.bias"] * float("nan")}),
        ["unet", "conv_in.bias"],
    ),
    "infinity": (
        lambda f: rewrite(f / TEXT, lambda t: t | {"final_layer_norm.bias": t["final_layer_norm.bias"] + torch.inf}),
        ["text_encoder", "final_layer_norm.bias"],
    ),
    "an overflow": (
        lambda f: rewrite(f / VAE, lambda tensors: {name: weight * 1e9 for name, weight in tensors.items()}),
        ["vae", "finite"],
    ),
    "a quantised UNet": (
        lambda f: change(f / "unet/config.json", {"quantization_config": QUANTISED}),
        ["unet", "quantization_config"],
    ),
    "a quantised text encoder": (
        lambda f: change(f / "text_encoder/config.json", {"quantization_config": QUANTISED}),
        ["text_encoder", "quantization_config"],
    ),
    "a quantised CLIP": (
        lambda f: change(f / "clip/config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
        ["clip", "quantization_config"],
    ),
    "a package that isn't there": (
        lambda f: change(f / "text_encoder/config.json", {"_attn_implementation": "flash_attention_2"}),
        ["text_encoder"],
    ),
    "a dtype that isn't there": (
        lambda f: change(f / "text_encoder/config.json", {"dtype": "float7"}),
        ["text_encoder", "float7"],
    ),
    "an unknown activation": (
        lambda f: change(f / "text_encoder/config.json", {"hidden_act": "steep"}),
        ["text_encoder", "steep"],
    ),
    "a whole CLIP as the text encoder": (
        lambda f: (shutil.rmtree(f / "text_encoder"), shutil.copytree(f / "clip", f / "text_encoder")),
        ["text_encoder", "'clip'", "clip_text_model"],
    ),
    "a CLIP of another family": (
        lambda f: change(f / "clip/config.json", {"model_type": "chinese_clip"}),
        ["clip", "chinese_clip"],
    ),
    "a token without embedding": (lambda f: extended(f, resize=False), ["tokenizer", "514"]),
    "a token after the end of text": (lambda f: extended(f, resize=True, eos_token_id=2), ["eos_token_id", "2", "513"]),
    "another end of text": (
        lambda f: change(f / "text_encoder/config.json", {"eos_token_id": 7}),
        ["text_encoder", "eos_token_id", "7", "513"],
    ),
    "another end of text of CLIP": (
        lambda f: nested(f, "text_config", eos_token_id=7),
        ["clip", "eos_token_id", "7", "513"],
    ),
    "no padding": (lambda f: change(f / "tokenizer/tokenizer_config.json", {"pad_token": None}), ["pad"]),
    "a tokenizer without length": (
        lambda f: change(f / "tokenizer/tokenizer_config.json", {"model_max_length": int(1e30)}),
        ["tokenizer", "12"],
    ),
    "no resizing": (
        lambda f: change(f / PREPROCESSOR, {"do_resize": False, "do_center_crop": False}),
        ["clip", "32x32", "16x16", "do_resize"],
    ),
    "no cropping": (lambda f: change(f / PREPROCESSOR, {"do_center_crop": False}), ["clip", "32x16", "16x16"]),
    "no normalising": (lambda f: change(f / PREPROCESSOR, {"do_normalize": False}), ["clip", "do_normalize"]),
    "no rescaling": (lambda f: change(f / PREPROCESSOR, {"do_rescale": False}), ["clip", "do_rescale"]),
    "another rescaling": (lambda f: change(f / PREPROCESSOR, {"rescale_factor": 1}), ["clip", "rescale_factor"]),
    "a deviation of 0": (lambda f: change(f / PREPROCESSOR, {"image_std": [0, 0, 0]}), ["clip", "finite"]),
    "one mean": (lambda f: change(f / PREPROCESSOR, {"image_mean": [0.5], "image_std": [0.5]}), ["clip", "mean"]),
    "a larger vision tower": (lambda f: nested(f, "vision_config", image_size=24), ["clip", "16x16", "24x24"]),
    "another class of VAE": (
        lambda f: change(f / "vae/config.json", {"_class_name": "AutoencoderTiny"}),
        ["vae", "AutoencoderTiny"],
    ),
    "a VAE with two shifts": (
        lambda f: change(
            f / "vae/config.json",
            {"shift_factor": 0.06, "latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [2.0] * 4},
        ),
        ["vae", "shift_factor", "latents_mean"],
    ),
    "a VAE without scale": (
        lambda f: change(f / "vae/config.json", {"scaling_factor": None}),
        ["vae", "scaling_factor"],
    ),
    "flow matching": (
        lambda f: (f / SCHEDULER).write_text(
            json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0})
        ),
        ["scheduler", "FlowMatchEulerDiscreteScheduler"],
    ),
    "flow matching by another solver": (
        lambda f: change(f / SCHEDULER, {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}),
        ["scheduler", "UniPCMultistepScheduler"],
    ),
    "an unknown schedule": (
        lambda f: (f / SCHEDULER).write_text(json.dumps({"_class_name": "TomorrowsScheduler"})),
        ["scheduler", "TomorrowsScheduler"],
    ),
    "variance that no UNet predicts": (lambda f: change(f / SCHEDULER, {"variance_type": "learned"}), ["scheduler"]),
    "an unknown spacing": (lambda f: change(f / SCHEDULER, {"timestep_spacing": "odd"}), ["scheduler", "odd"]),
    "a configuration nested too deeply": (
        lambda f: (f / "unet/config.json").write_text("[" * 100_000),
        ["unet/config.json"],
    ),
    "a byte order mark": (
        lambda f: (f / "unet/config.json").write_bytes(b"\xef\xbb\xbf" + (f / "unet/config.json").read_bytes()),
        ["unet/config.json", "BOM"],
    ),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_the_pipeline_can_not_use_is_refused_with_the_reason(folder, tmp_path, what, capfd):
    spoil, named = NAMED[what]
    spoil(folder)
    capfd.readouterr()
    line = refused(folder, tmp_path / "made")
    assert [name for name in named if name not in line] == []
    assert str(tmp_path / "made") not in line  # it names the user's folder
    assert not (tmp_path / "made").exists()
    assert "LOAD REPORT" not in capfd.readouterr().err


def test_frames_must_fit_the_vae(folder, tmp_path):
    """The tiny VAE halves three times; config.py lets any multiple of 8 through."""
    configuration = json.loads((folder / "vae/config.json").read_text())
    assert len(configuration["block_out_channels"]) == 4
    line = refused(folder, tmp_path / "made", pixels=28)
    assert "frames.pixels = 28" in line
    assert "8" in line
    from_folder(folder, tmp_path / "made", pixels=24)


# --- what looks odd and works


def test_a_text_encoder_with_a_projection_works_without_it(folder, tmp_path):
    model = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder", ignore_mismatched_sizes=True)
    model.save_pretrained(folder / "text_encoder")
    assert "text_projection.weight" in load_file(folder / TEXT)
    from_folder(folder, tmp_path / "made")


def test_added_tokens_with_embeddings_work(folder, tmp_path):
    extended(folder, resize=True)
    backbone = Backbone(from_folder(folder, tmp_path / "made"))
    assert backbone.tokenizer("<my-pan>").input_ids[1] == 514
    tokens, pooled = encode_sentences(backbone.text_encoder, backbone.tokenizer, ["<my-pan>"])
    assert torch.equal(pooled, tokens[:, 2])  # start, <my-pan>, end of text


def test_stable_diffusion_2s_padding_is_kept(folder, tmp_path):
    content = json.loads((folder / "tokenizer/tokenizer.json").read_text())
    (folder / "tokenizer/tokenizer.json").unlink()
    (folder / "tokenizer/vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    change(folder / "tokenizer/tokenizer_config.json", {"pad_token": "!"})
    tokenizer = Backbone(from_folder(folder, tmp_path / "made")).tokenizer
    ids = tokenizer("a", padding="max_length").input_ids
    assert ids[3:] == [content["model"]["vocab"]["!"]] * 9


@pytest.mark.parametrize(
    "values",
    [
        {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction", "use_karras_sigmas": False},
        {"_class_name": "LMSDiscreteScheduler"},
        {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
    ],
    ids=str,
)
def test_other_schedulers_of_the_same_noise_schedule_work(folder, tmp_path, values):
    change(folder / SCHEDULER, values)
    schedule = load_scheduler(from_folder(folder, tmp_path / "made") / "scheduler")
    assert schedule.config.prediction_type == values.get("prediction_type", "epsilon")
    assert torch.equal(schedule.alphas_cumprod, load_scheduler(folder / "scheduler").alphas_cumprod)


def test_a_schedulers_class_may_know_the_values(folder, tmp_path):
    (folder / SCHEDULER).write_text(json.dumps({"_class_name": "DDIMScheduler"}))
    from_folder(folder, tmp_path / "made")


@pytest.mark.parametrize(
    "values", [{"shift_factor": 0.06}, {"latents_mean": [1.0] * 4, "latents_std": [2.0] * 4}], ids=str
)
def test_a_vae_with_statistics_works(folder, tmp_path, values):
    change(folder / "vae/config.json", values)
    from_folder(folder, tmp_path / "made")


def test_a_preprocessor_that_squashes_works(folder, tmp_path):
    change(folder / PREPROCESSOR, {"size": {"height": 16, "width": 16}, "do_center_crop": False})
    from_folder(folder, tmp_path / "made")


# --- the second CLIP


@pytest.mark.parametrize(
    "what",
    ["a quantised CLIP", "a CLIP of another family", "no resizing", "no normalising", "a larger vision tower"],
)
def test_a_second_clip_runs_once_too(folder, tmp_path, what):
    spoil, named = NAMED[what]
    spoil(folder)
    with pytest.raises(InputError) as error:
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder", 32)
    assert [name for name in named if name not in str(error.value)] == []


def test_a_second_clips_text_plays_no_part(folder, tmp_path):
    """Only its vision tower measures."""
    nested(folder, "text_config", eos_token_id=7)
    fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder", 32)
    rewrite(folder / CLIP, lambda t: {name: w for name, w in t.items() if "position_embedding" not in name})
    with pytest.raises(InputError, match="position_embedding"):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder", 32)
