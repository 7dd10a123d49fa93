"""Which device a name gives, and what a device is refused for."""

import pytest
import torch

from recipevis.core.devices import check_training, device
from recipevis.errors import ParameterError


def test_a_device_that_is_not_there_is_refused():
    assert device("cpu") == torch.device("cpu")
    assert device("auto").type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "cuda:", "cuda:first", "tpu"):
        with pytest.raises(ParameterError, match=f"'{name}'"):
            device(name)


def test_a_gpu_by_number_becomes_the_current_one(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for name in ("cuda:1", "cuda", "cpu:0"):
        assert device(name) == torch.device(name)
    assert chosen == [1]


def test_several_processes_on_an_apple_gpu_are_refused():
    check_training(torch.device("mps"), "fp32", 1)
    with pytest.raises(ParameterError, match=r"train\.processes = 2"):
        check_training(torch.device("mps"), "fp32", 2)


def test_a_cpu_trains_in_bf16_and_not_in_fp16():
    check_training(torch.device("cpu"), "bf16", 2)
    with pytest.raises(ParameterError, match="fp16"):
        check_training(torch.device("cpu"), "fp16", 1)
