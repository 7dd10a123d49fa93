import numpy as np
import pandas as pd

from recipevis.report.history import thinned


def test_a_long_history_is_thinned_to_window_means():
    steps = 25
    history = pd.DataFrame(
        {
            "step": range(steps),
            "loss": np.arange(steps) * 2.0,
            "denoising": 1.0,
            "cycle": 0.0,
            "learning_rate": 1e-3,
            "validation_loss": [7.0 if step == 11 else None for step in range(steps)],
        }
    )
    short = thinned(history, rows=10)  # windows of three, and one left over
    assert short["step"].tolist() == [2, 5, 8, 11, 14, 17, 20, 23, 24]
    assert short["loss"].tolist() == [2.0, 8.0, 14.0, 20.0, 26.0, 32.0, 38.0, 44.0, 48.0]
    assert short["validation_loss"].dropna().tolist() == [7.0]
    pd.testing.assert_frame_equal(thinned(history, rows=25), history)
    assert thinned(history.head(0)).empty
