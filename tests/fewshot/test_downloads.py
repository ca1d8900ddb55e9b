"""Public sets from small copies in their publishers' layouts, over file:// and over HTTP."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pickle
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from lightning_lde.errors import ConfigurationError, DataError, DownloadError
from lightning_lde.fewshot import PUBLIC_SETS, Episodes, FewShotDataset, download, public_set
from lightning_lde.fewshot.sources._published_splits import PUBLISHED

Pixels = npt.NDArray[np.uint8]


def picture(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: Any, kind: str) -> bytes:
    file = io.BytesIO()
    # Without subsampling colours do not run from one block of 8x8 pixels into the next.
    Image.fromarray(pixels).save(file, kind, **({"subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            head = tarfile.TarInfo(name)
            head.size = len(data)
            archive.addfile(head, io.BytesIO(data))
        for name, target in (links or {}).items():
            head = tarfile.TarInfo(name)
            head.type, head.linkname = tarfile.SYMTYPE, target
            archive.addfile(head)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def digest(path: Path, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


class Mirror:
    """A folder of archives, and how to ask for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def options(self) -> dict[str, Any]:
        registry = {path.name: digest(path) for path in self.folder.iterdir()}
        return {"base_url": self.folder.as_uri(), "registry": registry}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "a mirror")


INK = {
    (alphabet, f"character{one:02}", copy): picture(100 * number + 10 * one + copy, 9, 9) > 127
    for number, alphabet in enumerate("ABCDEFGHIJKLMN")
    for one in (1, 2)
    for copy in (1, 2)
}


def write_omniglot(mirror: Mirror) -> None:
    for part, alphabets in {"background": "ABCDEFGHIJKL", "evaluation": "MN"}.items():
        members = {
            f"images_{part}/{alphabet}/{character}/{copy:04}.png": encoded(~ink, "PNG")
            for (alphabet, character, copy), ink in INK.items()
            if alphabet in alphabets
        }
        members |= {f"images_{part}/readme.txt": b"x", f"__MACOSX/images_{part}/A/c/._0001.png": b"no image"}
        write_zip(mirror.folder / f"images_{part}.zip", members)


def test_omniglot_has_its_official_evaluation_alphabets(mirror: Mirror, tmp_path: Path) -> None:
    write_omniglot(mirror)
    found = public_set("omniglot", tmp_path / "data", **mirror.options)
    assert found.images.shape == (len(INK), 1, 9, 9)
    for (alphabet, character, copy), ink in INK.items():
        mine = found.images[found.labels == found.classes.index(f"{alphabet}/{character}")]
        assert np.array_equal(mine[copy - 1, 0].numpy(), ink * 255)
    splits = {name.split("/")[0]: part for name, part in zip(found.classes, found.class_splits, strict=True)}
    assert [splits[one] for one in "MN"] == ["test", "test"]
    assert sorted(splits[one] for one in "ABCDEFGHIJKL") == ["train"] * 10 + ["val"] * 2
    assert found.licence == "MIT"
    divided = public_set("omniglot", tmp_path / "data", size=5, splits={"train": 0.5, "test": 0.5}, **mirror.options)
    assert divided.images.shape[2:] == (5, 5)
    assert divided.class_splits.count("test") == 14


CIFAR = {"data": picture(3, 60, 3072), "fine_labels": [one % 20 for one in range(60)]}
FINE = ["beaver", "whale", "dolphin", "fox", "skunk", "crab", "snail", "lobster", "bear", "lion", *"ABCDEFGHIJ"]
COARSE = ["aquatic_mammals"] * 3 + ["medium_mammals"] * 2 + ["non-insect_invertebrates"] * 3 + ["large_carnivores"] * 2
COARSE += ["trees"] * 10


def old_pickle(value: object) -> bytes:
    """A pickle as Python 2 and the numpy of its time wrote it."""
    return pickle.dumps(value, protocol=2).replace(b"numpy._core", b"numpy.core")


def write_cifar(mirror: Mirror, **change: bytes) -> None:
    groups = sorted(set(COARSE))
    parts: dict[str, dict[str, Any]] = {}
    for part, rows in {"train": slice(0, 40), "test": slice(40, 60)}.items():
        fine = CIFAR["fine_labels"][rows]
        coarse = [groups.index(COARSE[one]) for one in fine]
        parts[part] = {"data": CIFAR["data"][rows], "fine_labels": fine, "coarse_labels": coarse}
    parts["meta"] = {"fine_label_names": FINE, "coarse_label_names": groups}
    content = {part: old_pickle(value) for part, value in parts.items()} | change
    members = {f"cifar-100-python/{part}": data for part, data in content.items()}
    write_tar(mirror.folder / "cifar-100-python.tar.gz", {**members, "cifar-100-python/file.txt~": b""})


def test_cifar_is_divided_by_class_or_by_superclass(mirror: Mirror, tmp_path: Path) -> None:
    write_cifar(mirror)
    classes, groups = (public_set(name, tmp_path / "data", **mirror.options) for name in ("cifar_fs", "fc100"))
    for found in (classes, groups):
        assert np.array_equal(found.images.numpy(), CIFAR["data"].reshape(60, 3, 32, 32))
        assert [found.classes[one] for one in found.labels.tolist()] == [FINE[one] for one in CIFAR["fine_labels"]]
    by_name = [dict(zip(found.classes, found.class_splits, strict=True)) for found in (classes, groups)]
    names = ("beaver", "whale", "dolphin", "fox", "crab", "snail", "bear", "A")
    assert [by_name[0][one] for one in names] == ["val", "test", "train", "test", "val", "test", "train", "train"]
    assert [by_name[1][one] for one in names] == ["test", "test", "test", "test", "val", "val", "val", "train"]
    assert len(list(Episodes(groups, ways=5, shots=1, queries=2, n_episodes=4))) == 4
    grey = public_set("fc100", tmp_path / "data", size=16, channels=1, **mirror.options)
    assert torch.equal(grey.images, groups.prepared(size=16, channels=1).images)


def test_a_pickle_that_would_run_code_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.write_text, (tmp_path / "trapped", "x"))

    write_cifar(mirror, train=pickle.dumps(Trap(), protocol=2))
    with pytest.raises(DataError, match="it asks for"):
        public_set("fc100", tmp_path / "data", **mirror.options)
    assert not (tmp_path / "trapped").exists()
    write_cifar(mirror, train=old_pickle({"data": 1}))
    with pytest.raises(DataError, match="not laid out as CIFAR-100"):
        public_set("fc100", tmp_path / "data", **mirror.options)
    write_cifar(mirror, train=b"\x80\x02broken")
    with pytest.raises(DataError, match="no pickle of plain arrays"):
        public_set("fc100", tmp_path / "data", **mirror.options)


def close(found: torch.Tensor, pixels: Pixels, size: int) -> bool:
    """Whether an image is that of one even colour: JPEG keeps nothing more exactly."""
    wanted = torch.from_numpy(pixels[0, 0].astype(np.float32))[:, None, None].expand(3, size, size)
    return bool((found - wanted).abs().max() <= 3)


def even(seed: int, height: int, width: int) -> Pixels:
    return np.broadcast_to(picture(seed, 3), (height, width, 3)).copy()


@pytest.mark.parametrize(
    ("name", "file", "folder", "classes"),
    [
        ("dtd", "dtd-r1.0.1.tar.gz", "dtd/images", {"banded": "test", "grid": "val", "dotted": "train"}),
        (
            "cu_birds",
            "CUB_200_2011.tgz",
            "./CUB_200_2011/images",
            {"009.Brewer_Blackbird": "test", "044.Frigatebird": "val", "001.Black_footed_Albatross": "train"},
        ),
    ],
)
def test_a_folder_a_class(
    mirror: Mirror, tmp_path: Path, name: str, file: str, folder: str, classes: dict[str, str]
) -> None:
    members = {
        f"{folder}/{one}/{one}_{copy}.jpg": encoded(even(10 * row + copy, 20 + copy, 30), "JPEG")
        for row, one in enumerate(classes)
        for copy in (1, 2)
    }
    members |= {f"{folder}/{next(iter(classes))}/._x.jpg": b"no image", "attributes.txt": b"x"}
    write_tar(mirror.folder / file, members, links={"elsewhere": "/etc"})
    found = public_set(name, tmp_path / "data", size=12, **mirror.options)
    assert dict(zip(found.classes, found.class_splits, strict=True)) == classes
    for row, one in enumerate(classes):
        mine = found.images[found.labels == found.classes.index(one)]
        assert all(close(mine[copy - 1], even(10 * row + copy, 1, 1), 12) for copy in (1, 2))
    assert public_set(name, tmp_path / "data", **mirror.options).images.shape == (6, 3, 84, 84)


def test_aircraft_are_read_by_variant_without_the_banner(mirror: Mirror, tmp_path: Path) -> None:
    folder = "fgvc-aircraft-2013b/data"
    names = {"0000001": "737-400", "0000002": "A310", "0000003": "F-16A/B", "0000004": "BAE 146-300"}
    members = {}
    for row, number in enumerate(names):
        pixels = np.concatenate([even(row, 48, 50), np.full((20, 50, 3), 255 * (row % 2), dtype=np.uint8)])
        members[f"{folder}/images/{number}.jpg"] = encoded(pixels, "JPEG")
    lines = [f"{number} {variant}\n".encode() for number, variant in names.items()]
    for part, rows in {"train": slice(0, 2), "val": slice(2, 3), "test": slice(3, 4)}.items():
        members[f"{folder}/images_variant_{part}.txt"] = b"".join(lines[rows])
    write_tar(mirror.folder / "fgvc-aircraft-2013b.tar.gz", members)
    found = public_set("fgvc_aircraft", tmp_path / "data", size=8, **mirror.options)
    assert dict(zip(found.classes, found.class_splits, strict=True)) == {
        "737-400": "test", "A310": "val", "BAE 146-300": "val", "F-16A/B": "train",
    }  # fmt: skip
    for row, variant in enumerate(names.values()):
        assert close(found.images[found.labels == found.classes.index(variant)][0], even(row, 1, 1), 8)


def write_flowers(mirror: Mirror, labels: list[int]) -> None:
    members = {f"jpg/image_{row:05}.jpg": encoded(even(row, 20, 20), "JPEG") for row in (3, 1, 4, 2)}
    write_tar(mirror.folder / "102flowers.tgz", members)
    savemat(mirror.folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})


def test_flowers_have_their_labels_in_a_file_of_their_own(mirror: Mirror, tmp_path: Path) -> None:
    write_flowers(mirror, [77, 5, 10, 77])
    found = public_set("vgg_flower", tmp_path / "data", size=8, **mirror.options)
    assert dict(zip(found.classes, found.class_splits, strict=True)) == {"005": "test", "010": "val", "077": "train"}
    assert [found.classes[one] for one in found.labels.tolist()] == ["077", "005", "010", "077"]
    assert all(close(found.images[row], even(row + 1, 1, 1), 8) for row in range(4))
    write_flowers(mirror, [77, 5])
    with pytest.raises(DataError, match=r"has 2 labels, but .* an image of number 4"):
        public_set("vgg_flower", tmp_path / "data", **mirror.options)
    (mirror.folder / "imagelabels.mat").write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(DataError, match="no MATLAB file"):
        public_set("vgg_flower", tmp_path / "data", **mirror.options)


def test_published_splits_have_their_published_sizes() -> None:
    sizes = {name: (len(held.val), len(held.test)) for name, held in PUBLISHED.items()}
    assert sizes == {
        "cifar_fs": (16, 20), "fc100": (4, 4), "dtd": (7, 7), "fgvc_aircraft": (15, 15), "vgg_flower": (15, 16),
        "cu_birds": (30, 30),
    }  # fmt: skip
    assert all(not held.val & held.test for held in PUBLISHED.values())
    assert set(PUBLIC_SETS) == {*PUBLISHED, "omniglot"}


def test_what_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    write_omniglot(mirror)
    options = mirror.options
    paths = download("omniglot", tmp_path / "data", **options)
    assert [path.name for path in paths] == ["images_background.zip", "images_evaluation.zip"]
    assert [path.read_bytes() for path in paths] == [(mirror.folder / path.name).read_bytes() for path in paths]
    for path in mirror.folder.iterdir():
        path.unlink()
    assert download("omniglot", tmp_path / "data", **options) == paths
    paths[0].write_bytes(b"damaged later")
    with pytest.raises(DownloadError, match="cannot be fetched"):
        download("omniglot", tmp_path / "data", **options)


def test_the_publishers_checksum_counts_when_no_other_is_given(mirror: Mirror, tmp_path: Path) -> None:
    write_omniglot(mirror)
    with pytest.raises(DownloadError, match="does not have the checksum md5:68d2efa1b9178cc56df9314c21c6e718"):
        download("omniglot", tmp_path / "data", base_url=mirror.folder.as_uri())
    assert list((tmp_path / "data").iterdir()) == []


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_mirror_can_be_a_web_server(mirror: Mirror, tmp_path: Path, serve: Callable[[Path], str]) -> None:
    write_omniglot(mirror)
    options = {**mirror.options, "base_url": serve(mirror.folder) + "/"}
    found = public_set("omniglot", tmp_path / "data", **options)
    assert found.fingerprint == public_set("omniglot", tmp_path / "other", **mirror.options).fingerprint
    (mirror.folder / "images_evaluation.zip").unlink()
    with pytest.raises(DownloadError, match="404"):
        download("omniglot", tmp_path / "third", **options)
    assert [path.name for path in (tmp_path / "third").iterdir()] == ["images_background.zip"]


def test_no_network_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError, match=r"cannot be fetched .* base_url, or put the file at .*\.tgz by hand"):
            download("cu_birds", tmp_path / "data", base_url=address)
    assert list((tmp_path / "data").iterdir()) == []


def test_names_and_checksums_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"data set 'imagenet' is unknown: use one of \['cifar_fs'"):
        download("imagenet", tmp_path)
    for wrong in ({"other.zip": "md5:0a"}, {"dtd-r1.0.1.tar.gz": "0a"}, {"dtd-r1.0.1.tar.gz": None}):
        with pytest.raises(ConfigurationError, match="registry has"):
            download("dtd", tmp_path, registry=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"base_url='gopher://127\.0\.0\.1'; expected"):
        download("dtd", tmp_path, base_url="gopher://127.0.0.1")


@pytest.mark.parametrize("share", [0.9, 0.5, 0.02, 0])
@pytest.mark.parametrize("name", ["omniglot", "fc100"])
def test_a_cut_archive_is_named(mirror: Mirror, tmp_path: Path, name: str, share: float) -> None:
    write_omniglot(mirror) if name == "omniglot" else write_cifar(mirror)
    path = sorted(mirror.folder.iterdir())[0]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=f"{path.name} cannot be read to its end"):
        public_set(name, tmp_path / "data", **mirror.options)


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "/etc/outside.jpg", "dtd/../../outside.jpg", "..\\outside.jpg", "C:/x"]
)
def test_a_name_that_leads_out_of_the_archive_is_refused(mirror: Mirror, tmp_path: Path, name: str) -> None:
    good = {"dtd/images/banded/a.jpg": encoded(even(1, 9, 9), "JPEG")}
    write_tar(mirror.folder / "dtd-r1.0.1.tar.gz", {**good, name: b"x"})
    with pytest.raises(DataError, match="leads out of the archive"):
        public_set("dtd", tmp_path / "data", **mirror.options)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a mirror", "data", *["dtd-r1.0.1.tar.gz"] * 2]


def test_a_broken_image_in_an_archive_and_an_empty_archive_are_named(mirror: Mirror, tmp_path: Path) -> None:
    write_tar(mirror.folder / "dtd-r1.0.1.tar.gz", {"dtd/images/banded/a.jpg": b"no image"})
    with pytest.raises(DataError, match=r"dtd/images/banded/a\.jpg cannot be read as an image"):
        public_set("dtd", tmp_path / "data", **mirror.options)
    write_tar(mirror.folder / "dtd-r1.0.1.tar.gz", {"dtd/readme": b""})
    with pytest.raises(DataError, match="there is no image of 'dtd' in it"):
        public_set("dtd", tmp_path / "data", **mirror.options)


def test_the_result_is_a_set_like_any_other(mirror: Mirror, tmp_path: Path) -> None:
    write_omniglot(mirror)
    found = public_set("omniglot", tmp_path / "data", **mirror.options)
    assert isinstance(found, FewShotDataset)
    assert found.lde_facts()["uri"].startswith("Omniglot, Lake et al. 2015")
