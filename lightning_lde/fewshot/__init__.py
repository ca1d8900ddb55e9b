"""Few-shot learning: data sets split by class, episodes, backbones, MAML and pretraining."""

from lightning_lde.fewshot._characters import (
    CHARACTER_SETS,
    character_set,
    character_sets,
    demo_sets,
    digits_set,
)
from lightning_lde.fewshot._data import FewShotDataset
from lightning_lde.fewshot._episodes import ClassificationSplit, Episode, Episodes
from lightning_lde.fewshot._loaders import classification_loader, collate_batch, episode_loader
from lightning_lde.fewshot._maml import MAML
from lightning_lde.fewshot._metrics import MeanWithInterval
from lightning_lde.fewshot._packs import load_pack, load_packs, load_text_pack, save_pack
from lightning_lde.fewshot._pretraining import Pretraining
from lightning_lde.fewshot._protonet import ProtoNet
from lightning_lde.fewshot._public import PUBLIC_SETS, download, public_set
from lightning_lde.fewshot._reptile import Reptile
from lightning_lde.fewshot._results import EpisodeResults
from lightning_lde.fewshot._signals import from_series, log_mel
from lightning_lde.fewshot._splits import split_classes
from lightning_lde.fewshot._text import TextPack, from_encoder
from lightning_lde.fewshot._union import union
from lightning_lde.fewshot.backbones import MLP, Conv4, ResNet12

__all__ = [
    "CHARACTER_SETS",
    "MAML",
    "MLP",
    "PUBLIC_SETS",
    "ClassificationSplit",
    "Conv4",
    "Episode",
    "EpisodeResults",
    "Episodes",
    "FewShotDataset",
    "MeanWithInterval",
    "Pretraining",
    "ProtoNet",
    "Reptile",
    "ResNet12",
    "TextPack",
    "character_set",
    "character_sets",
    "classification_loader",
    "collate_batch",
    "demo_sets",
    "digits_set",
    "download",
    "episode_loader",
    "from_encoder",
    "from_series",
    "load_pack",
    "load_packs",
    "load_text_pack",
    "log_mel",
    "public_set",
    "save_pack",
    "split_classes",
    "union",
]
