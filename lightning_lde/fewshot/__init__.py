"""Few-shot learning: data sets split by class, episodes, backbones, MAML and pretraining."""

from lightning_lde.fewshot.backbones import MLP, Conv4, ResNet12
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._episodes import ClassificationSplit, Episode, Episodes
from lightning_lde.fewshot.data._loaders import classification_loader, collate_batch, episode_loader
from lightning_lde.fewshot.data._preparation import prepare
from lightning_lde.fewshot.data._rotations import with_rotations
from lightning_lde.fewshot.data._splits import split_classes
from lightning_lde.fewshot.data._union import union
from lightning_lde.fewshot.methods._maml import MAML
from lightning_lde.fewshot.methods._metrics import MeanWithInterval
from lightning_lde.fewshot.methods._pretraining import Pretraining
from lightning_lde.fewshot.methods._protonet import ProtoNet
from lightning_lde.fewshot.methods._reptile import Reptile
from lightning_lde.fewshot.methods._results import EpisodeResults
from lightning_lde.fewshot.sources._characters import (
    CHARACTER_SETS,
    character_set,
    character_sets,
    demo_sets,
    digits_set,
)
from lightning_lde.fewshot.sources._collections import (
    IMAGE_ENDINGS,
    from_dataset,
    from_folder,
    from_hugging_face,
    open_image,
)
from lightning_lde.fewshot.sources._packs import load_pack, load_packs, load_text_pack, save_pack
from lightning_lde.fewshot.sources._public import PUBLIC_SETS, download, public_set
from lightning_lde.fewshot.sources._signals import from_series, log_mel
from lightning_lde.fewshot.sources._text import TextPack, from_encoder

__all__ = [
    "CHARACTER_SETS",
    "IMAGE_ENDINGS",
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
    "from_dataset",
    "from_encoder",
    "from_folder",
    "from_hugging_face",
    "from_series",
    "load_pack",
    "load_packs",
    "load_text_pack",
    "log_mel",
    "open_image",
    "prepare",
    "public_set",
    "save_pack",
    "split_classes",
    "union",
    "with_rotations",
]
