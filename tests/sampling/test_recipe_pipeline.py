"""`RecipePipeline`: what it takes and returns, its defaults, its arithmetic, how it is saved."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file, save_file

from recipevis import images
from recipevis.errors import InputError, ParameterError
from recipevis.model import schedule
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.networks import encode_images, encode_sentences
from recipevis.sampling.pipeline import load_pipeline
from recipevis.sampling.sampler import Sampler, generate_recipe
from tests.model.test_schedule import SCHEDULES

FEW = {"num_inference_steps": 2, "guidance_scale": 2.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_previous_images_of_every_type_are_the_same_image(pipeline, picture):
    """PIL, uint8, floats, tensors; alone, in a list and in a batch."""
    unit = picture / np.float32(255)
    tensor = torch.from_numpy(unit).permute(2, 0, 1)
    forms = [Image.fromarray(picture), picture, unit, tensor, [picture], picture[None], tensor[None]]
    generated = [pipeline("stir", image=form, generator=seeded(), **FEW).images for form in forms]
    assert all(np.array_equal(np.asarray(one[0]), np.asarray(generated[0][0])) for one in generated)
    first_step = pipeline("stir", generator=seeded(), **FEW).images[0]
    assert not np.array_equal(np.asarray(first_step), np.asarray(generated[0][0]))


def test_no_image_is_the_blank_one(pipeline):
    blank = Image.new("RGB", (32, 32), "white")
    assert np.array_equal(np.asarray(pipeline.blank_image), np.asarray(blank))
    one, other = (pipeline("stir", image=image, generator=seeded(), **FEW).images[0] for image in (None, blank))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_output_types_are_the_same_images(pipeline):
    pil, array, tensor = (
        pipeline("stir", generator=seeded(), output_type=kind, **FEW).images for kind in ("pil", "np", "pt")
    )
    assert isinstance(pil[0], Image.Image)
    assert array.shape == (1, 32, 32, 3)
    assert array.dtype == np.float32
    assert tensor.shape == (1, 3, 32, 32)
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array)
    assert np.array_equal(np.rint(array[0] * 255).astype(np.uint8), np.asarray(pil[0]))
    assert pipeline("stir", generator=seeded(), output_type="latent", **FEW).images.shape == (1, 4, 4, 4)


def test_without_a_dictionary_a_tuple_is_returned(pipeline):
    (generated,) = pipeline("stir", generator=seeded(), return_dict=False, **FEW)
    assert len(generated) == 1


def test_one_prompt_or_many_one_generator_or_many(pipeline):
    many = pipeline(["stir", "add salt"], generator=[seeded(1), seeded(2)], **FEW).images
    alone = pipeline("add salt", generator=seeded(2), **FEW).images
    assert len(many) == 2
    difference = np.asarray(many[1]).astype(int) - np.asarray(alone[0])
    assert np.abs(difference).max() <= 1  # another batch size may round differently
    again = [pipeline(["stir", "add salt"], generator=seeded(3), **FEW).images for _ in range(2)]
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*again, strict=True))
    assert len(pipeline(["stir", "stir"], **FEW).images) == 2  # unseeded
    in_a_tuple = pipeline(("stir", "add salt"), generator=(seeded(1), seeded(2)), **FEW).images
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(in_a_tuple, many, strict=True))


def test_a_scheduler_that_scales_its_first_noise(pipeline):
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    seen = []

    def watch(pipeline, index, timestep, values):
        seen.append(values["latents"])
        return {"latents": values["latents"]}

    pipeline("stir", generator=seeded(), callback_on_step_end=watch, num_inference_steps=20)
    assert seen[0].std() > 5, "Euler's noise begins at a standard deviation of 14.6"


def test_defaults_are_those_that_the_model_was_saved_with(pipeline, tmp_path):
    pipeline.register_to_config(num_inference_steps=3, guidance_scale=1.5, image_guidance_scale=0.5)
    pipeline.save_pretrained(tmp_path / "model")
    again, steps = load_pipeline(tmp_path / "model", "cpu"), []
    default = again("stir", generator=seeded(), callback_on_step_end=lambda p, i, t, k: steps.append(i)).images[0]
    given = {"num_inference_steps": 3, "guidance_scale": 1.5, "image_guidance_scale": 0.5}
    assert np.array_equal(np.asarray(default), np.asarray(again("stir", generator=seeded(), **given).images[0]))
    assert steps == [0, 1, 2]


def test_a_callback_sees_and_may_change_the_latents(pipeline):
    seen = []

    def zero(pipe, index, timestep, tensors):
        seen.append((pipe is pipeline, index, int(timestep), tensors["latents"].shape))
        return {"latents": torch.zeros_like(tensors["latents"])}

    call = {"generator": seeded(), "output_type": "latent", "callback_on_step_end": zero}
    assert not pipeline("stir", **call, **FEW).images.any()
    assert [entry[1] for entry in seen] == [0, 1]
    assert seen[0][2] > seen[1][2]
    assert all(entry[0] and entry[3] == (1, 4, 4, 4) for entry in seen)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"num_inference_steps": 1001}, "1000"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"output_type": "jpeg"}, "jpeg"),
        ({"image": [None, None]}, "2 images"),
        ({"image": "photo.png"}, "str"),
        ({"image": np.full((8, 8, 3), 300.0)}, "float64"),
        ({"generator": [seeded(), seeded()]}, "2 generators"),
        ({"prompt": []}, "prompt"),
    ],
    ids=["too_many_steps", "no_steps", "output_type", "images", "image_type", "image_range", "generators", "prompt"],
)
def test_a_wrong_argument_is_named(pipeline, arguments, names):
    with pytest.raises(ParameterError, match=names):
        pipeline(**{"prompt": "stir"} | arguments)


def test_guidance_of_one_is_one_conditional_pass(pipeline, picture):
    """By hand: the scheduler's steps with the conditional prediction alone."""
    arguments = {"num_inference_steps": 3, "guidance_scale": 1.0}
    generated = pipeline("add salt", image=picture, generator=seeded(), **arguments).images[0]
    random = seeded()
    latents = torch.randn((4, 4, 4), generator=random)[None]
    embeddings = StepEmbeddings(
        *encode_sentences(pipeline.text_encoder, pipeline.tokenizer, ["add salt"]),
        *encode_images(pipeline.image_encoder, pipeline.image_processor, [picture]),
    )
    pipeline.scheduler.set_timesteps(3)
    with torch.no_grad():
        tokens = pipeline.conditioner(embeddings).tokens
        for timestep in pipeline.scheduler.timesteps:
            prediction = pipeline.unet(latents, timestep, encoder_hidden_states=tokens).sample
            latents = pipeline.scheduler.step(prediction, timestep, latents, generator=random).prev_sample
        expected = images.from_vae(pipeline.decode(latents))[0]
    assert np.array_equal(np.asarray(generated), expected)


@pytest.fixture(params=SCHEDULES)
def scheduler(request, tmp_path) -> DDPMScheduler:
    DDPMScheduler(**SCHEDULES[request.param]).save_pretrained(tmp_path)
    return schedule.load_scheduler(tmp_path)


@pytest.mark.parametrize(("latent_scale", "name"), [(1.0, "ddpm"), (8.0, "ddpm"), (8.0, "ddim"), (8.0, "dpm-solver++")])
def test_an_oracle_that_knows_x0_gets_it_back_through_the_sampler(scheduler, pipeline, latent_scale, name):
    """The whole of `RecipePipeline.__call__` with a UNet that answers from x0; latents of 8 would be clipped."""
    pipeline.register_modules(scheduler=schedule.sampling_scheduler(scheduler.config, name))
    original = latent_scale * torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))

    def oracle(noisy, timestep, encoder_hidden_states):
        # from x_t and x0: the noise is (x_t - sqrt(a) x0) / sqrt(1 - a); then whatever the schedule asks for
        alpha = scheduler.alphas_cumprod[timestep]
        noise = (noisy - alpha.sqrt() * original) / (1 - alpha).sqrt()
        answer = {
            "epsilon": noise,
            "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * original,
            "sample": original.expand_as(noisy),
        }
        return SimpleNamespace(sample=answer[scheduler.config.prediction_type])

    pipeline.unet.forward = oracle
    generator = torch.Generator().manual_seed(1)
    generated = pipeline("stir", generator=generator, num_inference_steps=20, guidance_scale=3, output_type="latent")
    torch.testing.assert_close(generated.images, original, rtol=2e-2, atol=5e-2)


def test_a_saved_pipeline_generates_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    again = load_pipeline(tmp_path / "model", "cpu")
    assert (again.config.pixels, again.config.blank) == (32, "white")
    sentences = ["put the pan on the stove", "add oil", "fry the egg"]
    one, other = (list(generate_recipe(Sampler(p, 0, 2, 2.0), sentences)) for p in (pipeline, again))
    assert np.abs(np.array(one).astype(int) - np.array(other)).max() <= 1  # weights lie differently in memory
    assert len(one) == 3
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_a_folder_that_is_no_model_is_refused(tmp_path, pipeline):
    with pytest.raises(InputError, match="model_index"):
        load_pipeline(tmp_path, "cpu")
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match="model"):
        load_pipeline(tmp_path / "model", "cpu")


@pytest.mark.parametrize("part", ["conditioner", "unet", "vae"])
def test_a_model_with_broken_weights_is_refused(tmp_path, pipeline, part):
    pipeline.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = min(weights)
    save_file({key: w for key, w in weights.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=name):
        load_pipeline(tmp_path / "model", "cpu")
    path.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="model"):
        load_pipeline(tmp_path / "model", "cpu")


def test_a_model_with_broken_text_weights_is_refused(tmp_path, pipeline):
    """transformers raises the safetensors library's own error."""
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "text_encoder" / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="model"):
        load_pipeline(tmp_path / "model", "cpu")


def test_a_model_with_an_unknown_fuser_is_refused(tmp_path, pipeline):
    pipeline.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "conditioner" / "config.json"
    config.write_text(config.read_text().replace("attend_to_image", "not_a_fuser"))
    with pytest.raises(InputError, match="'not_a_fuser'"):
        load_pipeline(tmp_path / "model", "cpu")
