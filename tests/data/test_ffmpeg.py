"""ffmpeg there and back."""

import numpy as np
import pytest

from recipevis.data import ffmpeg
from recipevis.errors import InputError


def slides(count=7, height=48, width=64):
    """Each picture a colour of its own, uint8 [count, height, width, 3]."""
    levels = np.linspace(20, 230, count).astype(np.uint8)
    return np.stack([np.full((height, width, 3), (level, 255 - level, 128), np.uint8) for level in levels])


def test_pictures_come_back_at_their_times(tmp_path):
    sent = slides()
    ffmpeg.write(tmp_path / "a.mp4", sent, rate=2)
    times, pictures = ffmpeg.read(tmp_path / "a.mp4")
    assert times == pytest.approx(np.arange(7) / 2)
    assert pictures.shape == sent.shape
    assert np.abs(pictures.astype(int) - sent).max() <= 6


def test_same_pictures_same_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        ffmpeg.write(tmp_path / name, iter(noise), rate=5)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_what_ffmpeg_refuses_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4: ffmpeg: ") as error:
        ffmpeg.write(tmp_path / "a.mp4", slides(height=47), rate=2)  # yuv420p halves the height
    assert "\n" not in str(error.value)
    (tmp_path / "b.mp4").write_text("<html>")
    with pytest.raises(InputError, match=r"b\.mp4: ffmpeg: "):
        ffmpeg.read(tmp_path / "b.mp4")
