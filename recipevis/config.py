"""`params.yaml`, read and checked whole: one frozen model, a description for every key.

Functions of the library take the values that they need by name, never the whole of this.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from recipevis.core.files import read_yaml
from recipevis.data.sources.base import SOURCES, source_class
from recipevis.errors import ParameterError

# A fuser is a file in `fusers/`; `base` is what they share.
FUSERS = tuple(
    sorted(path.stem for path in Path(__file__).with_name("fusers").glob("[a-z]*.py") if path.stem != "base")
)
# Shapes of untrained networks: folders of configuration files.
CONFIGS = tuple(sorted(path.name for path in Path(__file__).parent.glob("model/backbone/configs/*")))

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _width(value: Any, check: Callable[[Any], int | str]) -> int | str:
    try:
        return check(value)
    except ValidationError:  # pydantic would tell each alternative as a problem of its own
        raise PydanticCustomError("width", "must be an integer of at least 1, or 'matched'") from None


Width = Annotated[Count | Literal["matched"], WrapValidator(_width)]


class Section(BaseModel):
    """A group of keys: unknown keys and wrong types are refused, values can't be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class KitchenConfig(Section):
    """How much the rendered demo holds."""

    training_videos: Count = Field(description="videos rendered for training")
    validation_videos: Count = Field(description="videos rendered for validation")


class DatasetConfig(Section):
    """Which recipes, and where their videos come from."""

    source: str = Field(description="where videos come from")
    annotations: str | None = Field(description="YouCook2-format annotations: a path or URL, .json or .tar.gz")
    videos_dir: str | None = Field(description="folder of <video id>.<any extension>, for the source `local`")
    url: str = Field(description="address of a video, with {video_id} in it, for the source `youtube`")
    seed: Annotated[int, Field(ge=0)] = Field(description="what the kitchen renders")
    limit: Count | None = Field(description="at most so many videos a subset; empty: all")
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
    """How videos are fetched from YouTube."""

    format: str = Field(description="yt-dlp's format selector")
    retries: Annotated[int, Field(ge=0)] = Field(description="tries per request before a video counts as failed")
    timeout_s: Annotated[float, Field(gt=0)] = Field(description="seconds without an answer that end a request")
    pause_s: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] = Field(
        description="shortest and longest pause between two videos, seconds"
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        description="first pause after a refusal (rate limit, bot check), doubled after each further one, seconds"
    )
    workers: Count = Field(description="videos fetched or rendered at the same time")

    @model_validator(mode="after")
    def _pause_is_a_range(self) -> "DownloadConfig":
        if self.pause_s[0] > self.pause_s[1]:
            raise ValueError(f"pause_s = {self.pause_s}: the shortest pause must come first")
        return self


class ExecutionConfig(Section):
    """Where `download` and `frames` do their work."""

    dask: Annotated[str, Field(pattern="^(tcp|tls|ws|wss|ucx)://.+")] | None = Field(
        description="address of a Dask scheduler; empty: threads of this machine"
    )


class FramesConfig(Section):
    """How a video's frame becomes a sample's image."""

    pixels: Annotated[int, Field(ge=16)] = Field(description="height and width of a frame, a multiple of 8")
    resize: Literal["squash", "crop", "pad"] = Field(description="how a frame becomes a square")
    blank: Literal["white", "black"] = Field(description="the image before a first step")
    workers: Count = Field(description="videos decoded at the same time")

    @model_validator(mode="after")
    def _pixels_fit_the_latents(self) -> "FramesConfig":
        if self.pixels % 8:
            raise ValueError(f"pixels = {self.pixels}: must be a multiple of 8")
        return self


class HubModelConfig(Section):
    """A model on the Hugging Face hub."""

    id: str = Field(description="owner/name on the hub")
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] = Field(description="commit, 40 hexadecimal digits")


class BackboneConfig(Section):
    """The frozen and the initial networks."""

    source: Literal["kitchen", "hub", "folder", "random"] = Field(description="where the networks come from")
    folder: str | None = Field(description="Stable-Diffusion-shaped folder, for the source `folder`")
    clip_folder: str | None = Field(description="CLIP folder; empty: <folder>/clip")
    stable_diffusion: HubModelConfig
    clip: HubModelConfig
    random: str = Field(
        description="for the source `random`: tiny, stable-diffusion-v1-4, or a folder of configuration files"
    )

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> "BackboneConfig":
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder = empty: source 'folder' needs one")
        if "/" not in self.random and self.random not in CONFIGS:
            raise ValueError(f"random = {self.random!r}: allowed are {', '.join(CONFIGS)} or a path with a slash in it")
        return self


class EmbedConfig(Section):
    """How sentences and frames are embedded."""

    batch_size: Count = Field(description="sentences or frames a forward pass")
    processes: Count = Field(description="processes that share the work, one a GPU")


class CycleConfig(Section):
    """The cycle-consistency loss (A.4)."""

    weight: Annotated[float, Field(ge=0)] = Field(description="weight of L_cyc beside the denoising loss; 0: off")
    max_amplification: Annotated[float, Field(gt=0)] | None = Field(
        description="L_cyc is taken where pred x0 amplifies the error by at most this; empty: everywhere"
    )
    images: Count | None = Field(description="at most so many images of a batch; empty: all")


class TrainConfig(Section):
    """Fine-tuning (section 3, A.3)."""

    # Keys that say how and not what: the trained model is the same up to rounding.
    HOW: ClassVar = frozenset(
        {"processes", "accumulation", "gradient_checkpointing", "fused", "compile", "checkpoint_every"}
    )

    steps: Annotated[int, Field(ge=0)] = Field(
        description="optimizer steps; 0 with the fuser baseline: the untouched backbone"
    )
    batch_size: Count = Field(description="triplets a step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="of the UNet, before cosine decay to 0")
    fuser_learning_rate: Annotated[float, Field(gt=0)] | None = Field(description="of the fuser; empty: the same")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="AdamW's")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(description="steps of linear warm-up")
    gradient_clip: Annotated[float, Field(gt=0)] | None = Field(description="largest gradient norm; empty: no limit")
    dropout_text: Fraction = Field(description="share of samples that lose their sentence alone")
    dropout_image: Fraction = Field(description="share of samples that lose their previous image alone")
    dropout_both: Fraction = Field(description="share of samples that lose both")
    precision: Literal["fp32", "bf16", "fp16"] = Field(description="of autocast; weights and moments stay fp32")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="decay of the moving average of the weights that is validated and saved; empty: off"
    )
    processes: Count = Field(description="processes that share each batch, one a GPU")
    accumulation: Count = Field(description="parts that each process takes its share of a batch in, to save memory")
    gradient_checkpointing: bool = Field(description="forget the UNet's activations and compute them twice")
    fused: bool = Field(description="AdamW in one kernel")
    compile: bool = Field(description="torch.compile the fuser and the UNet; needs a C++ compiler")
    validate_every: Count = Field(description="steps between two validation losses")
    validation_images: Count = Field(description="triplets of the validation loss")
    checkpoint_every: Count = Field(description="steps between two checkpoints an interrupted run resumes from")

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
    """Drawing the validation recipes (A.3)."""

    steps: Annotated[int, Field(ge=1, le=1000)] = Field(description="DDPM steps an image; the schedules have 1000")
    guidance: Annotated[float, Field(ge=0)] = Field(description="guidance scale of the sentence")
    image_guidance: Annotated[float, Field(ge=0)] | None = Field(
        description="guidance scale of the previous image; empty: the same as guidance"
    )
    recipes: Count | None = Field(description="at most so many validation recipes; empty: all")
    batch_size: Count = Field(description="images drawn at once")


class EvaluateConfig(Section):
    """Metrics and their intervals."""

    encoder: str | None = Field(
        description="a second CLIP that measures: kitchen (its own), hub id or folder; empty: none"
    )
    encoder_revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = Field(
        description="the second CLIP's commit on the hub; empty for a folder"
    )
    resamples: Annotated[int, Field(ge=100)] = Field(description="bootstrap resamples of an interval")
    strips: Annotated[int, Field(ge=0)] = Field(description="recipes shown as strips on the page")


class Config(Section):
    """The whole of `params.yaml`."""

    fuser: str = Field(description="how text and image are fused")
    fuser_hidden: Width = Field(
        description="width of the fuser's hidden layer; `matched`: as many weights as attend_to_image has"
    )
    fuser_residual: bool = Field(description="attention adds to its queries")
    fuser_options: dict[str, Any] = Field(description="further options that the fuser declares, by name")
    condition_tokens: Count = Field(description="tokens that condition the UNet")
    seed: Annotated[int, Field(ge=0)] = Field(description="of training and sampling")
    device: Annotated[str, Field(pattern="^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = Field(
        description="auto, cpu, mps, cuda or cuda:<number>"
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
    def _a_device_a_process(self) -> "Config":
        if ":" in self.device and max(self.train.processes, self.embed.processes) > 1:
            raise ValueError(f"device = {self.device!r}: with several processes say 'cuda' or 'auto', one card each")
        return self


def load(path: Path) -> Config:
    """Read and check a parameter file.

    Args:
        path: the YAML file.

    Raises:
        ParameterError: the file is missing or no YAML, or a key or value in it is wrong; one line that
            names the key, the value and what is allowed.
    """
    try:
        parameters = Config.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ParameterError(f"{path}: " + "; ".join(map(_line, error.errors()))) from None
    if parameters.fuser not in FUSERS:
        raise ParameterError(f"{path}: fuser = {parameters.fuser!r}: allowed are {', '.join(FUSERS)}")
    if parameters.fuser_options:
        from recipevis.fusers.base import check_options  # imports torch, and few set these

        try:
            check_options(parameters.fuser, parameters.fuser_options)
        except ParameterError as error:
            raise ParameterError(f"{path}: {error}") from None
    return parameters


def _line(problem: Any) -> str:
    """One pydantic problem as `key = value: what is allowed`."""
    section = [part for part in problem["loc"] if part in _KEYS or isinstance(part, int)]
    if problem["type"] == "extra_forbidden":
        section, key = list(problem["loc"][:-1]), problem["loc"][-1]
        known = ", ".join(_section_at(section).model_fields)
        return f"{'.'.join(map(str, [*section, key]))} = {problem['input']!r}: unknown key; known here: {known}"
    name = ".".join(map(str, section)) or "the file"
    if problem["type"] == "missing":
        return f"{name}: missing; it must be given"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":  # our own checks name the key and its value themselves
        return f"{name}.{message}"
    return f"{name} = {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _section_at(keys: list[str]) -> type[Section]:
    section: type[Section] = Config
    for key in keys:
        section = section.model_fields[key].annotation
    return section


def describe(section: type[Section] = Config, prefix: str = "") -> dict[str, str]:
    """Every key, dotted, with its description: what the documentation and the tests are held against."""
    described = {}
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            described |= describe(field.annotation, f"{prefix}{key}.")
        else:
            described[prefix + key] = field.description
    return described


_KEYS = {part for key in describe() for part in key.split(".")}
