"""A module of a package, started with -m."""

import pytorch_lightning as pl
from common import loader, trainer

from .model import Wide


def main() -> None:
    pl.seed_everything(18, verbose=False)
    trainer().fit(Wide(), loader())


if __name__ == "__main__":
    main()
