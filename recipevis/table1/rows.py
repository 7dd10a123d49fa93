"""The rows of Table 1 and ours beside them, once: what is run, what it costs, what the paper's numbers are.

The paper's baseline is "Stable Diffusion". It doesn't say whether it was fine-tuned, so its numbers stand beside both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recipevis.config import FUSERS
from recipevis.errors import ParameterError

# The paper's three columns, in our readings: which is closest to its "CLIP comparison score" is not known.
PAPER_METRICS = ("clip", "psnr", "ssim")
# What comparisons of rows are judged by: the family of the correction. Two of them are independent judges.
FAMILY = ("psnr", "ssim", "clip_l2", "encoder_l2", "encoder_cosine", "image_encoder_cosine")
JUDGES = ("encoder_cosine", "image_encoder_cosine")  # a claim about the cycle loss needs both: it trains the CLIP


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        key: its name on the command line and in the names of experiments.
        label: its name in the table.
        fuser: what is trained; None: nothing, the images are those of the untouched backbone in any experiment.
        cycle: whether with the cycle loss.
        paper: the paper's CLIP, PSNR and SSIM; None: not in the paper.
        kind: `paper`, `control` (a control of ours that is trained), `method` (the rows of docs/method.md) or `own` (a
            fuser that is none of these).
        previous_latent, first_latent, condition: the parameters of these names.
        scheduler: the parameter `sample.scheduler`.
    """

    key: str
    label: str
    fuser: str | None
    cycle: bool = False
    paper: tuple[float, float, float] | None = None
    kind: str = "paper"
    previous_latent: bool = False
    condition: str = "replace"
    scheduler: str = "ddpm"
    first_latent: bool = False

    @property
    def uses_image(self) -> bool:
        """Whether the trained model sees the previous image."""
        from recipevis.fusers.base import fuser_class  # imports torch

        return self.previous_latent or fuser_class(self.fuser).uses_image

    def experiment(self, seed: int) -> str:
        """The name of the experiment with this seed."""
        return f"table1-{self.key.replace('_', '-')}-seed{seed}"

    def settings(self, seed: int, cycle_weight: float) -> dict[str, str]:
        """The parameters of the experiment with this seed, by dotted key.

        Args:
            seed: of the training.
            cycle_weight: weight of the cycle loss in rows that have it.
        """
        return {
            "fuser": self.fuser or "baseline",
            "seed": str(seed),
            "cycle.weight": f"{cycle_weight if self.cycle else 0:g}",
            "previous_latent": str(self.previous_latent).lower(),
            "first_latent": str(self.first_latent).lower(),
            "condition": self.condition,
            "sample.scheduler": self.scheduler,
        }


_STABLE_DIFFUSION = (34.95, 8.51, 0.20)
# Key, label, the paper's numbers without and with the cycle loss. Its caption says "with/without". But by appendix A.5,
# the loss improves CLIP and PSNR and lowers SSIM; for attending to image, only the reverse order fits that.
_FUSERS = (
    ("concat", "Concatenation", (33.54, 7.84, 0.19), (33.27, 8.75, 0.20)),
    ("text_pooling", "Text pooling", (34.13, 8.28, 0.18), (33.55, 8.38, 0.18)),
    ("image_pooling", "Image pooling", (35.87, 7.77, 0.18), (35.45, 7.79, 0.17)),
    ("attend_to_text", "Attend to text", (34.95, 7.06, 0.17), (33.62, 7.06, 0.18)),
    ("attend_to_image", "Attend to image", (32.47, 9.11, 0.21), (32.29, 9.19, 0.19)),
)
BASELINE, TEXT_ONLY, BEST, LATENT, DPM = "baseline", "text_only", "attend_to_image", "latent", "dpm-solver++"
_OURS = (
    Row("untouched", "Stable Diffusion, untouched", None, paper=_STABLE_DIFFUSION),
    Row(BASELINE, "Baseline, fine-tuned", BASELINE, paper=_STABLE_DIFFUSION),
    Row(f"{BASELINE}-cycle", "Baseline, fine-tuned, cycle loss", BASELINE, cycle=True),
    *(
        Row(key + ("-cycle" if cycle else ""), label + (", cycle loss" if cycle else ""), key, cycle, paper)
        for key, label, without, with_cycle in _FUSERS
        for cycle, paper in ((False, without), (True, with_cycle))
    ),
    Row(TEXT_ONLY, "Text only (control)", TEXT_ONLY, kind="control"),
    Row("image_only", "Image only (control)", "image_only", kind="control"),
    Row(LATENT, "Previous latent", BASELINE, kind="method", previous_latent=True),
    Row("latent-first", "Previous and first latent", BASELINE, kind="method", previous_latent=True, first_latent=True),
    Row("latent-text_only", "Previous latent, text only", TEXT_ONLY, kind="method", previous_latent=True),
    Row("latent-attend_to_image", "Previous latent, attend to image", BEST, kind="method", previous_latent=True),
    Row("append", "Attend to image, appended", BEST, kind="method", condition="append"),
    Row("latent-ddim", "Previous latent, DDIM", BASELINE, kind="method", previous_latent=True, scheduler="ddim"),
    Row("latent-dpm", "Previous latent, DPM-Solver++", BASELINE, kind="method", previous_latent=True, scheduler=DPM),
    Row(
        "latent-append",
        "Previous latent, attend to image appended",
        BEST,
        kind="method",
        previous_latent=True,
        condition="append",
    ),
)
KINDS = ("paper", "control", "method", "own")


def _own(fuser: str) -> Row:
    """The row of a further fuser. Its key is the fuser's name; `<name>-own` if that is a row's or a kind's."""
    row = Row(fuser, fuser.replace("_", " ").capitalize(), fuser, kind="own")
    is_taken = fuser in KINDS or row.experiment(0) in {other.experiment(0) for other in _OURS}
    return replace(row, key=f"{fuser}-own") if is_taken else row


# A further fuser is a row as soon as its file is there.
_OWN = tuple(_own(name) for name in FUSERS if name not in {row.fuser for row in _OURS})
ROWS = _OURS + _OWN
ROW_KEYS = tuple(ROWS[0].settings(0, 0))  # the parameters that rows set
PAPER_ROWS = tuple(row for row in ROWS if row.kind == "paper")  # thirteen


def trained() -> list[Row]:
    """The rows that need a training."""
    return [row for row in ROWS if row.fuser is not None]


def select(keys: Sequence[str] | None) -> list[Row]:
    """The rows with these keys, or of these kinds, in the table's order; None: all.

    Raises:
        ParameterError: there is no such row.
    """
    known = {row.key: row for row in ROWS}
    for key in keys or ():
        if key not in known and key not in KINDS:
            raise ParameterError(f"--rows {key}: no such row; known are {', '.join([*KINDS, *known])}")
    return [row for row in ROWS if not keys or row.key in keys or row.kind in keys]


def comparisons() -> Iterator[tuple[str, Row, Row]]:
    """The declared family.

    Each fuser, your own too, against the baseline and against text alone, the cycle loss against none; our rows against
    the paper's best and against the plainest of them.
    """
    known = {row.key: row for row in ROWS}
    fusers = [known[key] for key, *_ in _FUSERS]
    for other in (known[BASELINE], known[TEXT_ONLY]):
        yield from ((f"against {other.label.lower()}", row, other) for row in (*fusers, *_OWN))
    for row in (known[BASELINE], *fusers):
        yield "cycle loss against none", known[f"{row.key}-cycle"], row
    ours = [row for row in ROWS if row.kind == "method"]
    yield from (("against the paper's best", row, known[BEST]) for row in ours)
    yield from (("against the previous latent alone", row, known[LATENT]) for row in ours if row.key != LATENT)
