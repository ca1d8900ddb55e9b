"""A model of a package."""

from common import Net


class Wide(Net):
    def __init__(self) -> None:
        super().__init__(width=12)
