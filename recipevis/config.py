"""`params.yaml` as a frozen pydantic model with a description of every key. It is checked whole, before any work.

Functions of the library take the values that they need by name, never the whole configuration.
"""

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from recipevis.core.files import read_yaml
from recipevis.data.sources.base import SOURCES, source_class
from recipevis.errors import ParameterError, install

# Names of the fusers: one file each, `base` is what they share.
FUSERS = tuple(
    sorted(path.stem for path in Path(__file__).with_name("fusers").glob("[a-z]*.py") if path.stem != "base")
)
# Names for `backbone.random`: folders of configuration files.
CONFIGS = tuple(sorted(path.name for path in Path(__file__).parent.glob("backbone/configs/*")))
# Values of `sample.scheduler`.
SCHEDULERS = ("ddpm", "ddim", "dpm-solver++")

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _width(value: Any, check: Callable[[Any], int | str]) -> int | str:
    try:
        return check(value)
    except ValidationError:  # pydantic would report each alternative as a problem of its own
        raise PydanticCustomError("width", "must be an integer of at least 1, or 'matched'") from None


Width = Annotated[Count | Literal["matched"], WrapValidator(_width)]


def _without_empty_texts(value: Any) -> Any:
    """A value in which texts that are empty or only spaces are None, also those in lists and mappings."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list):
        return [_without_empty_texts(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_empty_texts(item) for key, item in value.items()}
    return value


class Section(BaseModel):
    """A group of keys. Unknown keys and wrong types are refused, values can't be changed.

    An empty text is the same as no value: `dvc exp run -S key=` sets one, and `key:` in the file sets the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_text_is_no_value(cls, values: Any) -> Any:
        return _without_empty_texts(values)

    @model_validator(mode="after")
    def _none_is_not_written_as_a_word(self) -> "Section":
        for key, field in type(self).model_fields.items():
            value, optional = getattr(self, key), type(None) in get_args(field.annotation)
            if optional and isinstance(value, str) and value.lower() in ("none", "null"):
                raise ValueError(f"{key} = {value!r}: leave the value empty, which means none")
        return self


class KitchenConfig(Section):
    """The size of the rendered dataset."""

    training_videos: Count = Field(description="number of videos rendered for training")
    validation_videos: Count = Field(description="number of videos rendered for validation")
    camera_cuts: Fraction = Field(description="share of the steps after the first that begin with another view")


class DatasetConfig(Section):
    """The recipes and the source of their videos."""

    source: str = Field(description="where the videos come from: kitchen (rendered), local (a folder) or youtube")
    annotations: str | None = Field(
        description="annotations in YouCook2's format, a path or URL (.json, .json.gz, .tar.gz, .zip);"
        " the kitchen has its own"
    )
    videos_dir: str | None = Field(description="folder with <video id>.<any extension>, for the source local")
    url: str = Field(
        description="address of a video, with {video_id} in it, for the source youtube; a mirror works too"
    )
    seed: Annotated[int, Field(ge=0)] = Field(description="seed of the kitchen's recipes")
    limit: Count | None = Field(description="largest number of videos per subset; empty: all")
    only: str | None = Field(
        description="survivors.json of another run: only its triplets are used, so that two results compare; empty: all"
    )
    kitchen: KitchenConfig

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> "DatasetConfig":
        if "{video_id}" not in self.url:
            raise ValueError(f"url = {self.url!r}: must contain {{video_id}}")
        if self.source not in SOURCES:
            raise ValueError(f"source = {self.source!r}: allowed are {', '.join(SOURCES)}")
        for key, what in source_class(self.source).needs.items():
            if getattr(self, key) is None:
                raise ValueError(f"{key} = empty: source {self.source!r} needs {what}")
        return self


class DownloadConfig(Section):
    """How videos are fetched."""

    format: str = Field(description="format selector for yt-dlp")
    retries: Annotated[int, Field(ge=0)] = Field(description="tries per request before a video counts as failed")
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        description="a request fails after so many seconds without an answer"
    )
    pause_s: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] = Field(
        description="shortest and longest pause between two videos, seconds"
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        description="first pause after a refusal (rate limit, bot check), seconds; doubled after each further refusal"
    )
    workers: Count = Field(description="number of videos fetched or rendered at the same time")

    @model_validator(mode="after")
    def _pause_is_a_range(self) -> "DownloadConfig":
        if self.pause_s[0] > self.pause_s[1]:
            raise ValueError(f"pause_s = {self.pause_s}: the shortest pause must come first")
        return self


class ExecutionConfig(Section):
    """Where the stages `download` and `frames` run."""

    dask: Annotated[str, Field(pattern="^(tcp|tls|ws|wss|ucx)://.+")] | None = Field(
        description="Dask scheduler (tcp://host:8786) for download and frames; empty: threads on this machine"
    )


class FramesConfig(Section):
    """How a frame of a video becomes an image."""

    pixels: Annotated[int, Field(ge=16)] = Field(description="height and width of a frame, a multiple of 8")
    resize: Literal["squash", "crop", "pad"] = Field(description="how a frame becomes square: squash, crop or pad")
    blank: Literal["white", "black"] = Field(description="colour of the image before a first step: white or black")
    workers: Count = Field(description="number of videos decoded at the same time")

    @model_validator(mode="after")
    def _pixels_fit_the_latents(self) -> "FramesConfig":
        if self.pixels % 8:
            raise ValueError(f"pixels = {self.pixels}: must be a multiple of 8")
        return self


class HubModelConfig(Section):
    """A model on the Hugging Face hub."""

    id: str = Field(description="owner/name on the hub")
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] = Field(
        description="commit on the hub, 40 hexadecimal digits"
    )


class BackboneConfig(Section):
    """The frozen and the initial networks."""

    source: Literal["kitchen", "hub", "folder", "random"] = Field(
        description="where the networks come from: kitchen (ships with the package), hub, folder or random (untrained)"
    )
    folder: str | None = Field(description="folder shaped like Stable Diffusion, for the source folder")
    clip_folder: str | None = Field(description="folder of the CLIP model, for the source folder; empty: <folder>/clip")
    stable_diffusion: HubModelConfig
    clip: HubModelConfig
    random: str = Field(
        description="shapes for the source random: tiny, stable-diffusion-v1-4, or a folder of config.json files"
    )

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> "BackboneConfig":
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder = empty: source 'folder' needs one")
        if "/" not in self.random and self.random not in CONFIGS:
            raise ValueError(f"random = {self.random!r}: allowed are {', '.join(CONFIGS)} or a path with a slash in it")
        return self


class EmbedConfig(Section):
    """How the stage `embed` encodes sentences and frames."""

    batch_size: Count = Field(description="sentences or frames in a forward pass")
    processes: Count = Field(description="number of processes, one per GPU")


class CycleConfig(Section):
    """The cycle-consistency loss (A.4)."""

    weight: Annotated[float, Field(ge=0)] = Field(
        description="weight of the cycle loss L_cyc beside the denoising loss; 0: off"
    )
    max_amplification: Annotated[float, Field(gt=0)] | None = Field(
        description="L_cyc where an error of the noise becomes at most so large in pred x0; empty: everywhere"
    )
    images: Count | None = Field(description="L_cyc is computed for at most so many images of a batch; empty: all")


class TrainConfig(Section):
    """Fine-tuning (section 3, A.3)."""

    # These keys change how the training runs; the trained model is the same up to rounding.
    HOW: ClassVar = frozenset(
        {"processes", "accumulation", "gradient_checkpointing", "fused", "compile", "checkpoint_every", "log_with"}
    )

    steps: Annotated[int, Field(ge=0)] = Field(
        description="number of optimizer steps; 0 with the fuser baseline: the untouched backbone"
    )
    batch_size: Count = Field(description="triplets in a step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        description="peak learning rate of the UNet; it decays to 0 along a cosine"
    )
    fuser_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        description="peak learning rate of the fuser; empty: the UNet's"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="weight decay of AdamW")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(description="number of steps of linear warm-up")
    gradient_clip: Annotated[float, Field(gt=0)] | None = Field(description="largest gradient norm; empty: no limit")
    dropout_text: Fraction = Field(
        description="share of samples trained without their sentence alone, for an image_guidance of its own"
    )
    dropout_image: Fraction = Field(
        description="share of samples trained without their previous image alone, for the control no_previous"
    )
    dropout_both: Fraction = Field(
        description="share of samples trained without any condition, for guidance; the same for every fuser"
    )
    own_previous: Fraction = Field(
        description="share of samples whose previous image is one that the model drew, against drift; 0: off"
    )
    own_previous_images: Count = Field(description="number of images drawn for it after each validation")
    own_previous_steps: Annotated[int, Field(ge=1, le=1000)] = Field(description="DDPM steps of such an image")
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        description="weigh the loss by min-SNR with this gamma (5 in its paper); empty: all timesteps alike"
    )
    lora_rank: Count | None = Field(
        description="train LoRA adapters of this rank in place of the UNet's weights; empty: the whole UNet"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        description="precision of autocast: fp32, bf16 or fp16; weights and AdamW's moments stay fp32"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="decay of the moving average of the weights, which is then validated and saved; empty: off"
    )
    processes: Count = Field(description="number of processes that share each batch, one per GPU")
    accumulation: Count = Field(
        description="parts in which a process computes its share of a batch, to save memory; a CPU computes two at once"
    )
    gradient_checkpointing: bool = Field(
        description="compute the UNet's activations twice instead of keeping them, to save memory"
    )
    fused: bool = Field(description="run AdamW as one kernel")
    compile: bool = Field(description="compile the fuser and the UNet with torch.compile; needs a C++ compiler")
    validate_every: Count = Field(description="steps between two validation losses")
    validation_images: Count = Field(description="number of triplets of the validation loss")
    checkpoint_every: Count = Field(
        description="steps between two checkpoints; an interrupted run resumes from the latest"
    )
    log_with: Literal["tensorboard", "dvclive", "wandb"] | None = Field(
        description="tracker that shows the run while it goes on: tensorboard, dvclive or wandb; empty: none"
    )

    @model_validator(mode="after")
    def _dropout_is_a_distribution(self) -> "TrainConfig":
        total = self.dropout_text + self.dropout_image + self.dropout_both
        if total > 1:
            raise ValueError(f"dropout_text + dropout_image + dropout_both = {total:g}: must be at most 1")
        return self

    @model_validator(mode="after")
    def _batch_is_divisible(self) -> "TrainConfig":
        if self.batch_size % (self.processes * self.accumulation):
            shared = f"accumulation = {self.accumulation} and processes = {self.processes}"
            raise ValueError(f"{shared}: their product must divide batch_size = {self.batch_size}")
        return self


class SampleConfig(Section):
    """Sampling of the validation recipes (A.3)."""

    steps: Annotated[int, Field(ge=1, le=1000)] = Field(description="sampling steps per image, at most 1000")
    guidance: Annotated[float, Field(ge=0)] = Field(description="guidance scale of the sentence")
    image_guidance: Annotated[float, Field(ge=0)] | None = Field(
        description="guidance scale of the previous image; empty: the sentence's"
    )
    scheduler: Literal[SCHEDULERS] = Field(
        description="how an image is drawn: ddpm (the paper's), ddim or dpm-solver++"
    )
    recipes: Count | None = Field(description="largest number of validation recipes; empty: all")
    batch_size: Count = Field(description="images generated at once")
    precision: Literal["fp32", "bf16"] = Field(description="precision of autocast: fp32 or bf16; the latents stay fp32")


class EvaluateConfig(Section):
    """Metrics and their confidence intervals."""

    encoder: str | None = Field(
        description="a CLIP or SigLIP that only measures: kitchen (its own), an id on the hub, or a folder; empty: none"
    )
    encoder_revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = Field(
        description="commit of this encoder on the hub; empty for a folder"
    )
    image_encoder: str | None = Field(
        description="a DINOv2 that only measures: kitchen (its own), an id on the hub, or a folder; empty: none"
    )
    image_encoder_revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = Field(
        description="commit of the image encoder on the hub; empty for a folder"
    )
    resamples: Annotated[int, Field(ge=100)] = Field(description="bootstrap resamples of a confidence interval")
    strips: Annotated[int, Field(ge=0)] = Field(description="number of recipes shown as strips on the page")


class Config(Section):
    """The whole of `params.yaml`."""

    fuser: str = Field(description="how sentence and previous image are fused; `recipevis fusers` lists the names")
    fuser_hidden: Width = Field(
        description="width of the fuser's hidden layer; matched: so that every fuser has as many weights"
    )
    fuser_residual: bool = Field(
        description="attention adds its output to its queries; false: the paper read literally"
    )
    fuser_options: dict[str, Any] = Field(description="values of the other options that the fuser declares, by name")
    condition_tokens: Count = Field(description="number of the fuser's tokens that condition the UNet")
    condition: Literal["replace", "append"] = Field(
        description="the fuser's tokens replace the sentence's (the paper's), or append: follow them"
    )
    previous_latent: bool = Field(
        description="the previous image's latent joins the UNet's noisy input, as in InstructPix2Pix"
    )
    first_latent: bool = Field(description="the latent of the recipe's first image joins it, too, against drift")
    seed: Annotated[int, Field(ge=0)] = Field(description="seed of training and sampling")
    device: Annotated[str, Field(pattern="^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = Field(
        description="auto, cpu, mps, cuda or cuda:<number>; changing it reruns no stage"
    )
    dataset: DatasetConfig
    download: DownloadConfig
    execution: ExecutionConfig
    frames: FramesConfig
    backbone: BackboneConfig
    embed: EmbedConfig
    cycle: CycleConfig
    train: TrainConfig
    sample: SampleConfig
    evaluate: EvaluateConfig

    @model_validator(mode="after")
    def _first_latent_follows_the_previous(self) -> "Config":
        if self.first_latent and not self.previous_latent:
            raise ValueError("first_latent = true: needs previous_latent: true")
        return self

    @model_validator(mode="after")
    def _each_process_has_a_device(self) -> "Config":
        if ":" in self.device and max(self.train.processes, self.embed.processes) > 1:
            raise ValueError(
                f"device = {self.device!r}: with several processes, set 'cuda' or 'auto' so that each gets a GPU"
            )
        return self


def model_name(fuser: str, condition: str, previous_latent: bool, first_latent: bool) -> str:
    """What is trained, for titles: the fuser, and how its tokens and earlier images reach the UNet."""
    parts = {", appended": condition == "append", ", previous latent": previous_latent, ", first latent": first_latent}
    return fuser + "".join(text for text, is_set in parts.items() if is_set)


def load(path: Path) -> Config:
    """Read and check a parameter file.

    Args:
        path: the YAML file.

    Raises:
        ParameterError: the file is missing or isn't YAML, or a key or a value is wrong; one line with the key, the
            value and what is allowed.
    """
    try:
        parameters = Config.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ParameterError(f"{path}: " + "; ".join(map(_line, error.errors()))) from None
    if parameters.fuser not in FUSERS:
        raise ParameterError(f"{path}: fuser = {parameters.fuser!r}: allowed are {', '.join(FUSERS)}")
    if (tracker := parameters.train.log_with) and not _is_installed(tracker):
        raise ParameterError(
            f"{path}: train.log_with = {tracker!r}: {tracker} is not installed; run {install('track')}, or leave the "
            "value empty"
        )
    scales = {parameters.sample.guidance, parameters.sample.image_guidance}
    if scales - {1, None} and (problem := _untrained_guidance(parameters)):
        raise ParameterError(f"{path}: {problem}")
    if parameters.condition == "append":
        from recipevis.fusers.base import fuser_class  # imports torch

        if not fuser_class(parameters.fuser).has_tokens:
            raise ParameterError(
                f"{path}: condition = 'append': the fuser {parameters.fuser} has no tokens of its own; set 'replace'"
            )
    if parameters.fuser_options:
        from recipevis.fusers.base import check_options

        for option in ("hidden", "residual"):
            if option in parameters.fuser_options:
                raise ParameterError(f"{path}: fuser_options.{option}: set fuser_{option} instead")
        try:
            check_options(parameters.fuser, parameters.fuser_options)
        except ParameterError as error:
            raise ParameterError(f"{path}: {error}") from None
    return parameters


def _is_installed(package: str) -> bool:
    try:  # importlib.util.find_spec would take a folder of that name in the workspace for the package
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _untrained_guidance(parameters: Config) -> str:
    """What the guidance asks of the model that it is not trained for, see `sampling.guidance`; empty: nothing."""
    from recipevis.fusers.base import fuser_class  # imports torch

    scale, image_scale, train = parameters.sample.guidance, parameters.sample.image_guidance, parameters.train
    if not (parameters.previous_latent or fuser_class(parameters.fuser).uses_image):
        image_scale = None
    if image_scale not in (None, scale) and not train.dropout_text:
        return (
            f"sample.image_guidance = {image_scale:g}: a scale of its own asks what the model draws without the "
            "sentence; train that, for example with train.dropout_text: 0.05"
        )
    key, asked = ("guidance", scale) if image_scale is None else ("image_guidance", image_scale)
    if asked != 1 and not train.dropout_both:
        return (
            f"sample.{key} = {asked:g}: any scale but 1 asks what the model draws without any condition; train that, "
            "for example with train.dropout_both: 0.1"
        )
    return ""


def _line(problem: Any) -> str:
    """One pydantic problem as `key = value: what is allowed`."""
    section = [part for part in problem["loc"] if part in _KEYS or isinstance(part, int)]
    if problem["type"] == "extra_forbidden":
        section, key = list(problem["loc"][:-1]), problem["loc"][-1]
        known = list(_section_at(section).model_fields)
        close = get_close_matches(str(key), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return f"{'.'.join(map(str, [*section, key]))} = {problem['input']!r}: unknown key; {hint}"
    name = ".".join(map(str, section)) or "the file"
    if problem["type"] == "missing":
        return f"{name}: missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":  # the checks above name the key and its value themselves
        return f"{name}.{message}" if section else message
    message = f"{message[0].lower()}{message[1:]}"
    if problem["input"] is None:
        about = describe().get(name)
        return f"{name} = empty: {message}" + (f" ({about})" if about else "")
    return f"{name} = {problem['input']!r}: {message}"


def _section_at(keys: list[str]) -> type[Section]:
    section: type[Section] = Config
    for key in keys:
        section = section.model_fields[key].annotation
    return section


def describe(section: type[Section] = Config, prefix: str = "") -> dict[str, str]:
    """Every key, dotted, with its description."""
    described = {}
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            described |= describe(field.annotation, f"{prefix}{key}.")
        else:
            described[prefix + key] = field.description
    return described


_KEYS = {part for key in describe() for part in key.split(".")}
