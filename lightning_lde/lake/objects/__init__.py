"""Files of any size by their content: cut where that pays, stored once, verified when they are read."""

from lightning_lde.lake.objects._collect import (
    CONDEMNED_FOR,
    OLDER_THAN,
    Collected,
    collect,
    delete_unreferenced,
    is_in_use,
)
from lightning_lde.lake.objects._condemned import CONDEMNED, CondemnedList, Look, condemn, look
from lightning_lde.lake.objects._objects import Objects
from lightning_lde.lake.objects._places import CHUNKS, Places, chunk_path
from lightning_lde.lake.objects._put import WHOLE_BELOW_BYTES, StoredObject
from lightning_lde.lake.objects._recipe import WHOLE, Piece, Recipe
from lightning_lde.lake.objects._references import Holding, References, first_path, references

__all__ = [
    "CHUNKS",
    "CONDEMNED",
    "CONDEMNED_FOR",
    "OLDER_THAN",
    "WHOLE",
    "WHOLE_BELOW_BYTES",
    "Collected",
    "CondemnedList",
    "Holding",
    "Look",
    "Objects",
    "Piece",
    "Places",
    "Recipe",
    "References",
    "StoredObject",
    "chunk_path",
    "collect",
    "condemn",
    "delete_unreferenced",
    "first_path",
    "is_in_use",
    "look",
    "references",
]
