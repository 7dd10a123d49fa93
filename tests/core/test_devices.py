"""Which device a name gives, and what a device is refused for."""

import pytest
import torch

from recipevis.core.devices import autocast, check_sampling, check_training, device
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


def test_images_are_generated_in_fp32_and_bf16():
    for precision in ("fp32", "bf16"):
        check_sampling(torch.device("cpu"), precision)
    with pytest.raises(ParameterError, match=r"sample\.precision = 'fp16'"):
        check_sampling(torch.device("cpu"), "fp16")


def test_a_gpu_without_bf16_generates_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    check_sampling(torch.device("cuda"), "fp32")
    with pytest.raises(ParameterError, match=r"sample\.precision = 'bf16'"):
        check_sampling(torch.device("cuda"), "bf16")


def test_autocast_is_of_the_precision_that_was_asked_for():
    matrix = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with autocast(torch.device("cpu"), precision):
            assert (matrix @ matrix).dtype == dtype
