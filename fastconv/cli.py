"""The command `fastconv`: `fastconv demo`, `config`, `predict`, `summary`, `bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import demo
from .bench import cli as bench_cli
from .command import positive, run_command

if TYPE_CHECKING:
    import numpy as np

    from .applications.imagenet import Network
    from .models import Model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (by default that of the process); return the exit code."""
    return run_command(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastconv", description="Convolutional networks on CPUs.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo.add_arguments(commands.add_parser("demo", help=demo.HELP))
    config = commands.add_parser("config", help="show version, instruction set and threads")
    config.set_defaults(run=_config)
    _add_predict(commands)
    _add_summary(commands)
    bench_cli.add_parser(commands)
    return parser


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="name what is in pictures, with a network trained on ImageNet")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="file of a picture: PNG, JPEG, ...")
    predict.add_argument("--model", required=True, help="name of the network, such as mobilenet_v2 or VGG16")
    predict.add_argument("--weights", default="imagenet", help="file of weights (by default the published ones)")
    predict.add_argument("--top", type=_classes, default=5, help="classes to name (%(default)s)")
    predict.add_argument(
        "--scaling",
        choices=("auto", "caffe", "tf", "torch", "unit"),
        default="auto",
        help="how pixels are scaled; auto: as the weights want it (PyTorch's are known by their file)",
    )
    predict.set_defaults(run=_predict)


def _add_summary(commands: Any) -> None:
    summary = commands.add_parser("summary", help="show the layers of a network: shapes, parameters, multiply-adds")
    summary.add_argument("model", help="name of the network, such as vgg16")
    summary.add_argument(
        "--input-shape", nargs=3, type=positive, metavar=("HEIGHT", "WIDTH", "CHANNELS"), help="of its images"
    )
    summary.add_argument("--no-top", action="store_true", help="without the classifier")
    summary.set_defaults(run=_summary)


def _classes(text: str) -> int:
    value = positive(text)
    if value > 1000:
        raise argparse.ArgumentTypeError(f"ImageNet has 1000 classes, got {value}")
    return value


# The commands import what they need, so that `fastconv --help` answers at once.


def _config(arguments: argparse.Namespace) -> int:
    from . import show_config

    show_config()
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    """Print class, WordNet id, name and probability of the best classes; 1 for a file that is of no use."""
    from . import applications

    try:
        best = _best_classes(arguments)
    except (OSError, ValueError, OverflowError, MemoryError, ImportError) as error:
        return _failed("predict", error)
    numbers = {wordnet_id: number for number, (wordnet_id, _) in enumerate(applications.class_names())}
    for path, classes in zip(arguments.images, best, strict=True):
        if len(best) > 1:
            print(f"{path}:")
        for wordnet_id, name, probability in classes:
            print(f"{numbers[wordnet_id]:4d}  {wordnet_id}  {name}  {probability:.4f}")
    return 0


def _best_classes(arguments: argparse.Namespace) -> list[list[tuple[str, str, float]]]:
    """Of each picture WordNet id, name and probability of the classes asked for, the best first."""
    import numpy as np

    from . import applications
    from .applications.imagenet import network_of, preprocess_input
    from .preprocessing import load_image

    network = network_of(arguments.model)
    # Of every picture only the crop is kept; and what is wrong with one is said before the network is built.
    batch = np.stack([_fitted(load_image(path), network) for path in arguments.images])
    model = network.function(weights=arguments.weights)
    _check_classifier(network, model)
    if arguments.scaling == "auto":
        batch = applications.preprocessing_of(network.name, _weights_from(network, arguments.weights))(batch)
    else:
        batch = preprocess_input(batch, arguments.scaling)
    return applications.decode_predictions(model.predict(batch, verbose=0), top=arguments.top)


def _check_classifier(network: Network, model: Model) -> None:
    """ValueError unless the network tells the classes of ImageNet apart in colour pictures."""
    if model.output_shape != (None, 1000) or model.input_shape[-1] != 3:
        raise ValueError(
            f"{network.name} maps {model.input_shape} to {model.output_shape}: it is no network for ImageNet, "
            "which takes (None, height, width, 3) to (None, 1000)"
        )


def _fitted(picture: np.ndarray, network: Network) -> np.ndarray:
    """The middle of a picture in the size of the network's input; the crop is 7 / 8 of the short side."""
    from .preprocessing import resize_and_crop

    crop = network.input_shape[0]
    return resize_and_crop(picture, resize=round(crop * 256 / 224), crop=crop)


def _weights_from(network: Network, weights: str) -> str | None:
    """Who trained the weights, as far as the scaling of pixels depends on it: "torch", or None for anybody else."""
    from .applications._variants import resolve_variant
    from .interop.pretrained import mobilenet_v2_file

    if weights == "imagenet":
        return "torch" if network.name == "MobileNetV2" and mobilenet_v2_file() else None
    return "torch" if resolve_variant(None, weights) == "torchvision" else None


def _summary(arguments: argparse.Namespace) -> int:
    from .applications.imagenet import network_of

    try:
        build = network_of(arguments.model).function
        shape = tuple(arguments.input_shape) if arguments.input_shape else None
        model = build(include_top=not arguments.no_top, weights=None, input_shape=shape)
    except (ValueError, MemoryError) as error:
        return _failed("summary", error)
    model.summary()
    return 0


def _failed(command: str, error: Exception) -> int:
    """Say in one line what went wrong; return the exit code."""
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__  # as of a bare MemoryError
    print(f"fastconv {command}: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
