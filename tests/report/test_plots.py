import re
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.report import plots


def history(steps, cycle=np.nan):
    step = np.arange(1, steps + 1)
    validation = np.where(step % 10 == 0, 1 / step, np.nan)
    return pd.DataFrame({"step": step, "loss": 1 / step, "cycle": cycle, "validation_loss": validation})


def drifting(steps):
    table = pd.DataFrame({"step": np.arange(steps), "images": np.arange(steps, 0, -1)})
    for metric in ("clip_l2", "clip_cosine", "psnr", "ssim"):
        table[metric] = table[f"teacher_forced_{metric}"] = np.linspace(1, 2, steps)
        table[f"drift_{metric}"], table[f"drift_{metric}_low"], table[f"drift_{metric}_high"] = 0.0, -0.1, 0.1
    return table


def ink(path, colour):
    """How many pixels have about this colour, e.g. a curve's."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(pixels - wanted).sum(-1) < 12).sum())


@pytest.mark.parametrize("steps", [0, 1, 2, 150])
def test_training_curve(tmp_path, steps):
    path = tmp_path / "train.png"
    plots.training_curve(history(steps), path)
    assert Image.open(path).format == "PNG"
    assert (ink(path, plots.SECOND) > 0) == (steps >= 10)  # validated every 10 steps
    assert (ink(path, plots.MODEL) > 0) == (steps > 0)


@pytest.mark.parametrize(("steps", "apart"), [(7, 1), (500, 100), (4000, 1000), (100_000, 20_000)])
def test_ticks_of_the_training_curve_are_round(tmp_path, monkeypatch, steps, apart):
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    plots.training_curve(history(steps).assign(step=range(steps)), tmp_path / "train.png")
    (axes,) = figures[0].axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.xaxis.get_major_locator().tick_values(low, high) if low <= tick <= high]
    assert set(np.diff(ticks)) == {apart}
    assert axes.xaxis.get_major_formatter()(20_000) == "20,000"
    assert axes.lines[0].get_xdata()[-1] == steps  # steps count from 1


def test_the_cycle_loss_is_shown_where_there_is_one(tmp_path):
    plots.training_curve(history(100), tmp_path / "without.png")
    plots.training_curve(history(100, cycle=0.0), tmp_path / "off.png")
    plots.training_curve(history(100, cycle=0.5), tmp_path / "with.png")
    without, off, on = (ink(tmp_path / f"{name}.png", plots.FAINT) for name in ("without", "off", "with"))
    assert abs(without - off) < 10
    assert on > without + 500


def test_a_history_read_from_an_empty_file(tmp_path):
    (tmp_path / "train.csv").write_text("step,loss,denoising,cycle,learning_rate,validation_loss\n")
    plots.training_curve(pd.read_csv(tmp_path / "train.csv"), tmp_path / "train.png")
    assert Image.open(tmp_path / "train.png").width > 100


@pytest.mark.parametrize("steps", [1, 16])
def test_drift(tmp_path, steps):
    path = tmp_path / "drift.png"
    plots.drift(drifting(steps), path)
    assert ink(path, plots.MODEL) > 0
    assert ink(path, plots.SECOND) > 0


def test_plots_for_the_page_take_its_colours_and_name_their_parts_apart():
    charts, images = plots.drift_svgs(drifting(4))
    svgs = [images, plots.training_svg(history(30)), *(svg for one in charts for svg in (one.means, one.difference))]
    assert [one.metric.name for one in charts] == ["clip_l2", "clip_cosine", "psnr", "ssim"]
    ids = [name for svg in svgs for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in svgs:
        xml.etree.ElementTree.fromstring(svg)
        assert not re.search(r"#[0-9a-f]{6}\b|https?:", svg), "a colour of its own stays light in the dark"
        assert all("fill: var(--" in text for text in re.findall("<text[^>]*>", svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= set(ids)


def test_points_of_a_plot_for_the_page_lie_in_the_order_of_their_values():
    table = drifting(4)
    [psnr] = [one for one in plots.drift_svgs(table)[0] if one.metric.name == "psnr"]
    line = re.search(r'd="(M [^"]*)" clip-path[^>]*stroke: var\(--model\)', psnr.means).group(1)
    heights = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", line)]
    gaps = np.diff(heights)
    assert len(heights) == 4
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-3)  # the values grow by equal steps
    assert gaps[0] < 0, "up on the page"


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plots.drift(drifting(5), tmp_path / f"{name}.png")
        plots.training_curve(history(50), tmp_path / f"{name}_train.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert plots.drift_svgs(drifting(5)) == plots.drift_svgs(drifting(5))
    assert (tmp_path / "a_train.png").read_bytes() == (tmp_path / "b_train.png").read_bytes()
