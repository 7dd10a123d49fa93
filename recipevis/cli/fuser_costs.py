"""What each fuser takes at the configured backbone's sizes: weights, activations, share of what is trained."""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from recipevis.config import FUSERS, Config
from recipevis.fusers.base import Shapes
from recipevis.model.backbone import sources, untrained
from recipevis.model.networks import check_fit
from recipevis.model.shapes import image_tokens


@dataclass(frozen=True)
class FuserCosts:
    """A fuser at the configured sizes."""

    name: str
    hidden: int | None  # None: it has no weights
    weights: int
    activations_mib: float  # that one image keeps for the backward pass, fp32
    share: float  # of the trained weights, the UNet's included


def all_fusers(parameters: Config) -> list[FuserCosts]:
    """Every fuser at the configured backbone's sizes; nothing is loaded or allocated for it."""
    shapes, unet = _sizes(parameters)
    rows = []
    with torch.device("meta"):
        inputs = [
            torch.empty(1, *size)
            for size in (
                (shapes.text_tokens, shapes.text_width),
                (shapes.text_width,),
                (shapes.image_tokens, shapes.image_width),
                (shapes.image_width,),
            )
        ]
        for name, kind in FUSERS.items():
            hidden = hidden_width(name, shapes, parameters.fuser_hidden)
            fuser = kind(shapes, hidden, parameters.fuser_residual)
            weights = sum(weight.numel() for weight in fuser.parameters())
            kept = _kept_bytes(fuser, inputs) / 2**20
            rows.append(FuserCosts(name, hidden if weights else None, weights, kept, weights / (weights + unet)))
    return rows


def _sizes(parameters: Config) -> tuple[Shapes, int]:
    """The fuser's shapes and the UNet's number of weights, from configurations."""
    folders, sizes = sources.folders(parameters.backbone), parameters.backbone.random
    with torch.device("meta"):
        if folders is None:  # untrained, or not yet fetched from the hub: then the sizes of `backbone.random`
            text, vision = sizes.text, sizes.vision
            tokens = image_tokens(vision.pixels, vision.patch)
            shapes = Shapes(text.tokens, text.width, tokens, vision.width, parameters.condition_tokens, text.width)
            unet = untrained.unet(sizes)
        else:
            shapes = check_fit(*folders, parameters.condition_tokens)
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folders[0] / "unet"))
    return shapes, sum(weight.numel() for weight in unet.parameters())


def _kept_bytes(network: torch.nn.Module, inputs: list[torch.Tensor]) -> int:
    """Bytes of the tensors, weights aside, that a forward pass keeps for the backward pass."""
    own = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # the storages stay alive, so no two have one number

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    return sum(storage.nbytes() for storage in kept.values())
