"""Where Keras' published weights come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pooch
import pytest

from fastconv.applications import MobileNet, ResNet50
from fastconv.applications._weights import mobilenet_name, published, published_file
from fastconv.errors import DatasetError

EVERY_NAME = (
    "vgg16", "vgg19", "resnet50", "resnet101", "resnet152", "inception_v3", "xception",
    "densenet121", "densenet169", "densenet201",
)  # fmt: skip


def keras_calls(monkeypatch: pytest.MonkeyPatch, name: str, **options: Any) -> tuple[str, str, str | None]:
    """Name, URL and hash that ``keras.applications`` would download."""
    from torch_oracle import keras_on_torch

    keras = keras_on_torch()
    from keras.src.utils import file_utils

    class Asked(Exception):  # noqa: N818 - not an error: it ends Keras' function
        pass

    def get_file(fname: str, origin: str, cache_subdir: str, file_hash: str | None = None) -> str:
        raise Asked(fname, origin, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(Asked) as caught:
        getattr(keras.applications, name)(weights="imagenet", **options)
    return caught.value.args  # type: ignore[return-value]


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet50", "inception_v3", "xception", "densenet121"])
def test_files_are_those_of_keras(monkeypatch: pytest.MonkeyPatch, name: str, include_top: bool) -> None:
    names = {
        "inception_v3": "InceptionV3",
        "xception": "Xception",
        "resnet50": "ResNet50",
        "densenet121": "DenseNet121",
    }
    asked = keras_calls(monkeypatch, names.get(name, name.upper()), include_top=include_top)
    assert tuple(published_file(name, include_top)) == asked


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize(
    ("network", "family", "alpha", "size"),
    [
        ("MobileNet", "mobilenet", 0.25, 128),
        ("MobileNet", "mobilenet", 1.0, 224),
        ("MobileNetV2", "mobilenet_v2", 1.4, 96),
    ],
)
def test_files_of_mobilenets(
    monkeypatch: pytest.MonkeyPatch, network: str, family: str, alpha: float, size: int, include_top: bool
) -> None:
    asked = keras_calls(monkeypatch, network, alpha=alpha, input_shape=(size, size, 3), include_top=include_top)
    assert tuple(published_file(mobilenet_name(family, alpha, size, size), include_top)) == asked


def test_every_hash_is_one_and_another() -> None:
    """32 hexadecimal digits, no two the same."""
    hashes = [published_file(name, top).md5 for name in EVERY_NAME for top in (True, False)]
    assert all(re.fullmatch("[0-9a-f]{32}", str(md5)) for md5 in hashes)
    assert len(set(hashes)) == len(hashes) == 20


def test_sizes_that_keras_did_not_train_take_those_of_224() -> None:
    assert mobilenet_name("mobilenet", 1, 160, 160) == "mobilenet_1.0_160"
    assert mobilenet_name("mobilenet", 1, 96, 96) == "mobilenet_1.0_224"
    assert mobilenet_name("mobilenet_v2", 1, 96, 96) == "mobilenet_v2_1.0_96"
    assert mobilenet_name("mobilenet_v2", 0.5, 160, 192) == "mobilenet_v2_0.5_224"
    assert mobilenet_name("mobilenet_v2", 0.5, None, None) == "mobilenet_v2_0.5_224"


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"no weights named 'resnet5'.*did you mean 'resnet50'"):
        published("resnet5", True)


def test_a_file_in_the_data_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    path.write_bytes(b"anything")
    assert published("resnet50", True)() == path


def test_then_the_cache_with_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pooch gets URL, hash, name and folder, and decides whether the cached file is right."""
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "empty"))
    asked: list[Any] = []

    def retrieve(url: str, known_hash: str | None, **options: Any) -> str:
        asked.append((url, known_hash, options["fname"], options["path"]))
        return str(tmp_path / "file.h5")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert published("vgg19", False)() == tmp_path / "file.h5"
    file = published_file("vgg19", False)
    folder = Path(pooch.os_cache("fastconv")) / "weights"
    assert asked == [(file.url, "md5:253f8cb515780f3b799900260a226db6", file.name, folder)]
    published("mobilenet_0.5_128", True)()
    assert asked[1][1:3] == (None, "mobilenet_5_0_128_tf.h5")


@pytest.mark.parametrize("folder", [None, "data"])
def test_offline_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None
) -> None:
    def retrieve(*_: Any, **__: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    if folder is None:
        monkeypatch.delenv("FASTCONV_DATA", raising=False)
        place = "$FASTCONV_DATA/weights/"
    else:
        monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / folder))
        place = f"{tmp_path / folder}/weights/"
    with pytest.raises(DatasetError) as caught:
        ResNet50(weights="imagenet")
    name = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    assert f"Put the file at {place}{name}" in str(caught.value)
    assert "ConnectionError" in str(caught.value)
    with pytest.raises(DatasetError, match=r"mobilenet_2_5_160_tf_no_top\.h5"):
        MobileNet((160, 160, 3), alpha=0.25, weights="imagenet", include_top=False)


def test_a_wrong_hash_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(*_: Any, **__: Any) -> str:
        raise ValueError("MD5 hash of downloaded file does not match")

    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DatasetError, match="wrong MD5"):
        published("xception", True)()
