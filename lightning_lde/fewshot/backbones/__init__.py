"""Networks that turn images into feature vectors: Conv4, ResNet12, MLP."""

from lightning_lde.fewshot.backbones._conv4 import Conv4
from lightning_lde.fewshot.backbones._describe import count_parameters, describe_backbone, feature_dim
from lightning_lde.fewshot.backbones._mlp import MLP
from lightning_lde.fewshot.backbones._norm import NORMS, Norm
from lightning_lde.fewshot.backbones._resnet12 import ResNet12

__all__ = [
    "MLP",
    "NORMS",
    "Conv4",
    "Norm",
    "ResNet12",
    "count_parameters",
    "describe_backbone",
    "feature_dim",
]
