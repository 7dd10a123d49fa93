"""Shared by the tests of backbones."""

import shutil

import pytest


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    """A copy of tiny networks that a test may spoil."""
    return shutil.copytree(tiny_backbone, tmp_path / "model", ignore=shutil.ignore_patterns("backbone.json"))
