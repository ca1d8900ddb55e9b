"""A folder that fills: what is new in it is embedded once and watched for diversity."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_lde.collecting._clusters import FloatArray
from lightning_lde.collecting._found import FoundFile, find_files
from lightning_lde.collecting._reading import ReadSample, read_file
from lightning_lde.collecting._state import StoredSample, WatchState
from lightning_lde.collecting._stored_probe import ProbeOfState
from lightning_lde.collecting._watch import BatchWatch, as_floats
from lightning_lde.diversity import DiversityMonitor, KindScore, MonitorReport, MonitorUpdate
from lightning_lde.errors import ConfigurationError, DataError

_FIRST_LOOK = 256


@dataclasses.dataclass(frozen=True)
class WatchedBatch:
    """A batch of a folder.

    Attributes:
        update: What it did.
        report: How diverse the folder is after it.
    """

    update: MonitorUpdate
    report: MonitorReport


class FolderWatch:
    """Reads what is new in a folder, embeds it, and watches its diversity batch by batch.

    The folder holds images in folders named by class, images without classes, ``.npy`` arrays of images (labels in
    ``NAME.labels.npy``, or the class by the folder), and data packs. What was read is kept in a state file, so that a
    watch that was stopped, or killed, goes on where it was and embeds nothing twice.

    Args:
        folder: The folder.
        state: The file of the state, or a folder for it; None for ``FOLDER.diversity`` beside the folder.
        probe: ``"random"``, ``"random:SEED"``, or a file of a ResNet-18's or ResNet-34's weights in torchvision's
            format.
        size: Height and width that the probe sees, pixels.
        batch: Samples of a batch; fewer wait for more.
        settle_s: Files that changed less than so many seconds ago are left for the next look, as they may be half
            written.
        monitor: Settings of the monitor.
        tell: Called with a sentence about each file or folder that cannot be read, once.

    Raises:
        ConfigurationError: If a setting cannot work, or the state was made with others.
        DataError: If there is neither such a folder nor a state, or the state is none.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        state: str | os.PathLike[str] | None = None,
        probe: str = "random",
        size: int = 32,
        batch: int = 64,
        settle_s: float = 2.0,
        monitor: DiversityMonitor | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        if batch < 2 or size < 16 or not settle_s >= 0:
            raise ConfigurationError(
                f"batch={batch!r}, size={size!r}, settle_s={settle_s!r}: expected at least 2, 16 and 0."
            )
        self.folder = Path(folder)
        path = _state_path(self.folder, state)
        if not self.folder.is_dir() and not path.exists():
            raise DataError(f"{self.folder} is no folder: give the folder that fills.")
        self._batch, self._size, self._settle_s, self._tell = batch, size, settle_s, tell
        self._told: set[str] = set()
        self._watch = BatchWatch(monitor=monitor)
        self.state = WatchState(path)
        try:
            self._probe = ProbeOfState(self.state, probe, size)
            for number in range(1, self.state.batches() + 1):
                self._watch.take_features(*self.state.batch(number))
        except BaseException:
            self.state.close()
            raise

    @property
    def waiting(self) -> int:
        """Samples that wait for a full batch."""
        return self.state.waiting()

    def report(self) -> MonitorReport:
        """How diverse the folder is, as far as it was taken in batches."""
        return self._watch.report()

    def close(self) -> None:
        """Let go of the state."""
        self.state.close()

    def rank(self, folder: str | os.PathLike[str]) -> tuple[KindScore, ...]:
        """Say which kinds of another folder would add most; nothing of it is taken or kept.

        Args:
            folder: A folder of the same form; its images are read and embedded at each call.

        Returns:
            Scores, the largest gain first.

        Raises:
            DataError: If it cannot be read, or nothing was taken from the watched folder yet.
        """
        if not self._probe.is_made:
            raise DataError(
                f"nothing of {self.folder} was taken yet, so nothing can be ranked beside it: it needs {self._batch} "
                "images first."
            )
        root = os.fsencode(folder)
        try:
            files = find_files(root, self._tell_once)
        except OSError as error:
            raise DataError(f"{folder} cannot be read ({error.strerror}): give a folder of candidates.") from error
        features: list[FloatArray] = []
        labels: list[str | None] = []
        candidates = (sample for file in files for sample in self._candidates(root, file))
        while portion := list(itertools.islice(candidates, self._batch)):
            features.append(self._probe.features(torch.stack([as_floats(one.pixels) for one in portion])))
            labels += [one.label for one in portion]
        return self._watch.rank(np.concatenate(features), labels) if features else ()

    def look(self) -> Iterator[WatchedBatch]:
        """Take what is new; a folder that is away, and files that cannot be read, are told of and left out.

        Yields:
            Each batch that became full.
        """
        files = self._new_files()
        if files and not self._probe.is_made and not self._probe.make(self._some_images(files), least=self._batch):
            self._tell_once(f"fewer than {self._batch} images are there; the probe is made when there are more")
            return
        for samples, done in self._portions(files):
            self._store(samples, done)
            yield from self._full_batches()
        yield from self._full_batches()

    def _candidates(self, root: bytes, file: FoundFile) -> Iterator[ReadSample]:
        try:
            yield from read_file(root, file, size=self._size)
        except DataError as error:
            self._tell_once(str(error))

    def _new_files(self) -> list[FoundFile]:
        try:
            found = find_files(os.fsencode(self.folder), self._tell_once)
        except OSError as error:
            self._tell_once(f"{self.folder} cannot be read ({error.strerror}); looking again")
            return []
        settled = time.time_ns() - int(self._settle_s * 1e9)
        # A clock that is ahead, such as a camera's, says nothing of whether a file is being written.
        now = time.time_ns() + int(60e9)
        return [one for one in found if not settled < one.mtime_ns < now and not self.state.is_known(one)]

    def _some_images(self, files: Sequence[FoundFile]) -> Tensor:
        """Images spread over what is there, for the statistics of an untrained probe; a batch at least, if there is."""
        wanted = max(_FIRST_LOOK, self._batch)
        spread = files[:: max(len(files) // wanted, 1)][:wanted]
        each = max(wanted // len(spread), 1)
        found: list[Tensor] = []
        for file in spread:
            pixels = [one.pixels for one in self._read(file)]
            found += pixels[:: max(len(pixels) // each, 1)][:each]
        if len(found) < self._batch:
            # Files of very different sizes, or some that cannot be read.
            samples = (one.pixels for file in files for one in self._read(file))
            found = list(itertools.islice(samples, wanted))
        return torch.stack([as_floats(one) for one in found]) if found else torch.empty(0)

    def _portions(self, files: Sequence[FoundFile]) -> Iterator[tuple[list[tuple[bytes, ReadSample]], list[FoundFile]]]:
        """Samples in portions of a batch, with the files that were read to their end by then."""
        samples: list[tuple[bytes, ReadSample]] = []
        done: list[FoundFile] = []
        for file in files:
            known = self.state.contents_of(file.path)
            for sample in self._read(file):
                if known[sample.content] > 0:
                    known[sample.content] -= 1
                    continue
                samples.append((file.path, sample))
                if len(samples) == self._batch:
                    yield samples, done
                    samples, done = [], []
            done.append(file)
        yield samples, done

    def _read(self, file: FoundFile) -> Iterator[ReadSample]:
        try:
            yield from read_file(os.fsencode(self.folder), file, size=self._size)
        except DataError as error:
            self.state.refuse(file, str(error))
            self._tell_once(str(error))

    def _store(self, samples: Sequence[tuple[bytes, ReadSample]], done: Sequence[FoundFile]) -> None:
        contents = {one.content: one.pixels for _, one in samples if not self.state.has_vector(one.content)}
        features: dict[bytes, FloatArray] = {}
        if contents:
            images = torch.stack([as_floats(one) for one in contents.values()])
            features = dict(zip(contents, self._probe.features(images), strict=True))
        rows = [StoredSample(path, one.content, one.label) for path, one in samples]
        good = [file for file in done if not self.state.is_known(file)]
        self.state.add(rows, features, good)

    def _full_batches(self) -> Iterator[WatchedBatch]:
        while self.state.waiting() >= self._batch:
            number = self.state.batches() + 1
            self.state.form_batch(number, self._batch)
            update = self._watch.take_features(*self.state.batch(number))
            yield WatchedBatch(update, self._watch.report())

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)


def _state_path(folder: Path, state: str | os.PathLike[str] | None) -> Path:
    name = f"{folder.absolute().name}.diversity"
    if state is None:
        return folder.absolute().parent / name
    return Path(state) / name if Path(state).is_dir() else Path(state)
