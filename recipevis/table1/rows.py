"""The rows of Table 1, once: what is run, what it costs, what is shown beside the paper's numbers.

The paper's baseline is "Stable Diffusion". It doesn't say whether it was fine-tuned, so its numbers stand beside both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recipevis.errors import ParameterError

# The paper's three columns, in our readings: which is closest to its "CLIP comparison score" is not known.
PAPER_METRICS = ("clip", "psnr", "ssim")
# What comparisons of rows are judged by: the family of the correction. Two of them are independent judges.
FAMILY = ("psnr", "ssim", "clip_l2", "encoder_cosine", "image_encoder_cosine")
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
        is_control: a control of ours, not a row of the paper.
    """

    key: str
    label: str
    fuser: str | None
    cycle: bool = False
    paper: tuple[float, float, float] | None = None
    is_control: bool = False

    def experiment(self, seed: int) -> str:
        """The name of the experiment with this seed."""
        return f"table1-{self.key.replace('_', '-')}-seed{seed}"


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
BASELINE, TEXT_ONLY = "baseline", "text_only"
ROWS = (
    Row("untouched", "Stable Diffusion, untouched", None, paper=_STABLE_DIFFUSION),
    Row(BASELINE, "Baseline, fine-tuned", BASELINE, paper=_STABLE_DIFFUSION),
    Row(f"{BASELINE}-cycle", "Baseline, fine-tuned, cycle loss", BASELINE, cycle=True),
    *(
        Row(key + ("-cycle" if cycle else ""), label + (", cycle loss" if cycle else ""), key, cycle, paper)
        for key, label, without, with_cycle in _FUSERS
        for cycle, paper in ((False, without), (True, with_cycle))
    ),
    Row(TEXT_ONLY, "Text only (control)", TEXT_ONLY, is_control=True),
    Row("image_only", "Image only (control)", "image_only", is_control=True),
)
PAPER_ROWS = tuple(row for row in ROWS if not row.is_control)  # thirteen


def trained() -> list[Row]:
    """The rows that need a training."""
    return [row for row in ROWS if row.fuser is not None]


def select(keys: Sequence[str] | None) -> list[Row]:
    """The rows with these keys, in the table's order; None: all.

    Raises:
        ParameterError: there is no such row.
    """
    known = {row.key: row for row in ROWS}
    for key in keys or ():
        if key not in known:
            raise ParameterError(f"--rows {key}: no such row; known are {', '.join(known)}")
    return [row for row in ROWS if not keys or row.key in keys]


def comparisons() -> Iterator[tuple[str, Row, Row]]:
    """The declared family: each fuser against the baseline and against text alone, and the cycle loss against none."""
    known = {row.key: row for row in ROWS}
    fusers = [known[key] for key, *_ in _FUSERS]
    for other in (known[BASELINE], known[TEXT_ONLY]):
        yield from ((f"against {other.label.lower()}", row, other) for row in fusers)
    for row in (known[BASELINE], *fusers):
        yield "cycle loss against none", known[f"{row.key}-cycle"], row
