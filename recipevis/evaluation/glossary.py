"""What each metric is called, which way it gets better and what it says: for the page, the plots and the card."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How one metric is told to people.

    Attributes:
        name: its name, and its unit if it has one.
        higher: whether higher is better.
        digits: digits behind the point that say something.
        text: what it is.
    """

    name: str
    higher: bool
    digits: int
    text: str

    @property
    def better(self) -> str:
        """Which way it gets better, in words."""
        return "higher is better" if self.higher else "lower is better"

    @property
    def arrow(self) -> str:
        """Which way it gets better."""
        return "↑" if self.higher else "↓"


METRICS = {
    "clip_l2": Metric("CLIP L2", False, 2, "distance of the two images' CLIP vectors, not normalised"),
    "clip_cosine": Metric("CLIP cosine", False, 2, "100 (1 - cosine) of the same vectors"),
    "psnr": Metric("PSNR, dB", True, 2, "peak signal-to-noise ratio, pixel by pixel"),
    "ssim": Metric("SSIM", True, 3, "structural similarity, at most 1, in a Gaussian window about each pixel"),
    "ssim_uniform": Metric(
        "SSIM 7×7",
        True,
        3,
        "the same in a window of 7 by 7 pixels of equal weight, scikit-image's default, which many papers report",
    ),
    "encoder_l2": Metric("second CLIP L2", False, 2, "as CLIP L2, by a CLIP that neither conditions nor trains"),
    "encoder_cosine": Metric("second CLIP cosine", False, 2, "100 (1 - cosine) of that CLIP's vectors"),
}
