"""Which classes of public sets others validate and test on; all other classes train.

The sources are lists of names that were published with the sets or with the libraries that brought them to
few-shot learning; CIFAR-FS: Bertinetto et al., 2019, as torchmeta lists it; FC100: Oreshkin et al., 2018, by
superclass; the others: Triantafillou et al., Meta-Dataset, 2020, as learn2learn 0.2 lists them.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PUBLISHED", "HeldOut"]


class HeldOut(NamedTuple):
    """Classes that do not train.

    Attributes:
        val: Names of the validation classes.
        test: Names of the test classes.
    """

    val: frozenset[str]
    test: frozenset[str]

    def split_of(self, name: str) -> str:
        """Return the split of a class."""
        return "val" if name in self.val else "test" if name in self.test else "train"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _lines(text: str) -> frozenset[str]:
    return frozenset(one.strip() for one in text.split(","))


def _numbers(text: str) -> frozenset[str]:
    return frozenset(f"{int(one):03}" for one in text.split())


PUBLISHED: dict[str, HeldOut] = {
    "cifar_fs": HeldOut(
        val=_words(
            "beaver otter flatfish shark lamp television beetle butterfly sea camel cattle crab crocodile maple_tree "
            "motorcycle tractor"
        ),
        test=_words(
            "whale poppy rose sweet_pepper telephone bed table wardrobe leopard plain chimpanzee fox snail worm baby "
            "man woman bicycle pickup_truck rocket"
        ),
    ),
    # Superclasses.
    "fc100": HeldOut(
        val=_words("large_carnivores large_omnivores_and_herbivores non-insect_invertebrates small_mammals"),
        test=_words("aquatic_mammals insects medium_mammals people"),
    ),
    "dtd": HeldOut(
        val=_words("gauzy grid lined paisley porous scaly spiralled"),
        test=_words("banded bumpy crosshatched knitted sprinkled stratified woven"),
    ),
    "fgvc_aircraft": HeldOut(
        val=_lines(
            "737-900, 757-300, 767-200, A310, A320, BAE 146-300, CRJ-900, DC-10, DC-8, DC-9-30, DHC-8-300, "
            "Gulfstream V, SR-20, Tornado, Yak-42"
        ),
        test=_lines(
            "737-400, 737-800, 757-200, 767-400, ATR-42, BAE-125, Beechcraft 1900, Boeing 717, CRJ-200, CRJ-700, "
            "E-170, L-1011, MD-90, Saab 2000, Spitfire"
        ),
    ),
    "vgg_flower": HeldOut(
        val=_numbers("10 16 17 23 26 47 53 56 57 62 82 83 86 97 102"),
        test=_numbers("5 9 15 19 35 40 41 42 45 46 65 85 89 94 96 98"),
    ),
    # Numbers in front of the names: "044.Frigatebird".
    "cu_birds": HeldOut(
        val=_numbers(
            "44 51 52 55 57 61 64 66 68 72 76 80 84 96 113 121 127 136 140 145 150 155 159 162 172 176 178 198 199 200"
        ),
        test=_numbers(
            "8 9 15 20 28 30 35 39 45 46 82 85 94 101 103 112 118 122 128 133 134 137 147 148 163 168 169 170 193 194"
        ),
    ),
}
