"""What a reader can take in at a glance: how long files and functions may be, and how many arguments these take."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES, FUNCTION_LINES, ARGUMENTS = 350, 60, 8

#: Signatures that are Keras', or that the ops promise: each argument is one of a convolution's, and goes by name.
LONG_SIGNATURES = {
    "fastconv/layers/": {"__init__"},
    "fastconv/models/model.py": {"fit"},
    "fastconv/ops/": {"conv2d", "conv2d_transpose_backward", "batch_norm_inference_backward"},
    "fastconv/reference/": {"conv2d", "conv2d_transpose_backward", "batch_norm_inference_backward"},
    "fastconv/testing/gradients.py": {"gradcheck"},
    "fastconv/visualization/maximisation.py": {"maximise_activation"},
    "fastconv/applications/": {
        *("AlexNet", "ENet", "GoogLeNet", "InceptionV3", "LeNet5", "MobileNet", "MobileNetV2", "NiN", "ResNet50"),
        *("ResNet101", "ResNet152", "SqueezeNet", "Xception", "ZFNet"),
    },
}


def sources(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if "/bench/" not in str(path))


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sources("fastconv/**/*.py", "tools/*.py", "setup.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield str(path.relative_to(ROOT)), node


def test_files() -> None:
    paths = sources("fastconv/**/*.py", "fastconv/**/*.px[di]", "csrc/**/*.[ch]", "tools/*.py", "setup.py")
    assert len(paths) > 200
    lengths = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in paths}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}


def test_functions_without_their_docstrings() -> None:
    long = {}
    for path, node in functions():
        lines = (node.end_lineno or 0) - node.lineno + 1
        if ast.get_docstring(node) is not None:
            lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
        if lines > FUNCTION_LINES:
            long[f"{path}: {node.name}"] = lines
    assert long == {}


def test_arguments() -> None:
    many, needed = {}, set()
    for path, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count <= ARGUMENTS:
            continue
        places = [p for p, names in LONG_SIGNATURES.items() if path.startswith(p) and node.name in names]
        needed.update((place, node.name) for place in places)
        if not places:
            many[f"{path}: {node.name}"] = count
    assert many == {}
    assert needed == {(place, name) for place, names in LONG_SIGNATURES.items() for name in names}, "too many allowed"
