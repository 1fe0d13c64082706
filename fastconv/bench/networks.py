"""The convolutions of known networks, one function a network: shapes flow through as (H, W, C), nothing is computed.

Names and padding are Keras' where Keras has the network. Every sum of weights is checked in tests/test_bench_layers.py.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.bench.layers import ConvLayer
from fastconv.ops.geometry import Pair, PairLike, pair, resolve_padding

Shape = tuple[int, int, int]  # (H, W, C)


class Trace:
    """Collects the convolutions that a network's function walks through."""

    def __init__(self, net: str, batch: int) -> None:
        self.net, self.batch = net, batch
        self.layers: list[ConvLayer] = []

    def conv(
        self,
        x: Shape,
        name: str,
        filters: int,
        kernel: PairLike = 3,
        strides: PairLike = 1,
        padding: object = "same",
        groups: int = 1,
    ) -> Shape:
        """A convolution; returns the shape of its output."""
        h, w, c = x
        kernel, strides = pair(kernel, "kernel"), pair(strides, "strides")
        pads = resolve_padding(padding, (h, w), kernel, strides, (1, 1))  # type: ignore[arg-type]
        layer = ConvLayer(self.net, name, self.batch, (h, w), c, filters, kernel, strides, pads, groups)
        self.layers.append(layer)
        return layer.output_shape[1:]

    def depthwise(self, x: Shape, name: str, strides: int = 1, padding: object = "same") -> Shape:
        """A 3 x 3 convolution of every channel by itself."""
        return self.conv(x, name, x[2], 3, strides, padding, groups=x[2])

    def done(self) -> tuple[ConvLayer, ...]:
        """What was collected."""
        return tuple(self.layers)


def pool(x: Shape, window: int, stride: int, padding: int = 0, ceil: bool = False) -> Shape:
    """The shape after a pool."""

    def length(size: int) -> int:
        covered = size + 2 * padding - window
        return (-(-covered // stride) if ceil else covered // stride) + 1

    return length(x[0]), length(x[1]), x[2]


def lenet() -> tuple[ConvLayer, ...]:
    """LeNet-5 on 28 x 28 (LeCun, Bottou, Bengio, Haffner, 1998)."""
    net = Trace("lenet", 64)
    x = pool(net.conv((28, 28, 1), "conv1", 6, 5), 2, 2)
    net.conv(x, "conv2", 16, 5, padding="valid")
    return net.done()


def alexnet() -> tuple[ConvLayer, ...]:
    """AlexNet in one tower (Krizhevsky, Sutskever, Hinton, 2012)."""
    net = Trace("alexnet", 8)
    x = pool(net.conv((227, 227, 3), "conv1", 96, 11, 4, "valid"), 3, 2)
    return _last_four(net, x, 1, "same")


def zfnet() -> tuple[ConvLayer, ...]:
    """ZFNet (Zeiler and Fergus, 2014): AlexNet with a smaller first kernel and stride."""
    net = Trace("zfnet", 8)
    x = pool(net.conv((224, 224, 3), "conv1", 96, 7, 2, 1), 3, 2, ceil=True)
    return _last_four(net, x, 2, "valid")


def _last_four(net: Trace, x: Shape, stride: int, padding: str) -> tuple[ConvLayer, ...]:
    x = pool(net.conv(x, "conv2", 256, 5, stride, padding), 3, 2, ceil=True)
    for name, filters in (("conv3", 384), ("conv4", 384), ("conv5", 256)):
        x = net.conv(x, name, filters)
    return net.done()


def vgg16() -> tuple[ConvLayer, ...]:
    """VGG-16 (Simonyan and Zisserman, 2015, configuration D)."""
    net, x = Trace("vgg16", 2), (224, 224, 3)
    for block, (filters, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, depth + 1):
            x = net.conv(x, f"block{block}_conv{i}", filters)
        x = pool(x, 2, 2)
    return net.done()


def googlenet() -> tuple[ConvLayer, ...]:
    """GoogLeNet (Szegedy et al., 2015, table 1), without auxiliary heads."""
    net = Trace("googlenet", 8)
    x = pool(net.conv((224, 224, 3), "conv1", 64, 7, 2, 3), 3, 2, ceil=True)
    x = net.conv(x, "conv2_reduce", 64, 1)
    x = pool(net.conv(x, "conv2", 192), 3, 2, ceil=True)
    table = {
        "3a": (64, 96, 128, 16, 32, 32),
        "3b": (128, 128, 192, 32, 96, 64),
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
        "5a": (256, 160, 320, 32, 128, 128),
        "5b": (384, 192, 384, 48, 128, 128),
    }
    for name, (one, reduce3, three, reduce5, five, projection) in table.items():
        if name in ("4a", "5a"):
            x = pool(x, 3, 2, ceil=True)
        module = f"inception_{name}_"
        net.conv(x, module + "1x1", one, 1)
        net.conv(net.conv(x, module + "3x3_reduce", reduce3, 1), module + "3x3", three)
        net.conv(net.conv(x, module + "5x5_reduce", reduce5, 1), module + "5x5", five, 5)
        net.conv(x, module + "pool_proj", projection, 1)
        x = (*x[:2], one + three + five + projection)
    return net.done()


def resnet18() -> tuple[ConvLayer, ...]:
    """ResNet-18 (He, Zhang, Ren, Sun, 2016, table 1), projections where the shape changes."""
    net = Trace("resnet18", 8)
    x = pool(net.conv((224, 224, 3), "conv1", 64, 7, 2, 3), 3, 2, 1)
    for stage, filters in enumerate((64, 128, 256, 512), 2):
        for block in (1, 2):
            name, stride = f"conv{stage}_block{block}_", 2 if stage > 2 and block == 1 else 1
            if stride == 2:
                net.conv(x, name + "0", filters, 1, 2, "valid")
            x = net.conv(x, name + "1", filters, 3, stride, 1)
            x = net.conv(x, name + "2", filters, 3, 1, 1)
    return net.done()


def resnet50() -> tuple[ConvLayer, ...]:
    """ResNet-50 (He, Zhang, Ren, Sun, 2016), as in Keras: the stride is in the first 1 x 1 layer."""
    net = Trace("resnet50", 8)
    x = pool(net.conv((224, 224, 3), "conv1", 64, 7, 2, 3), 3, 2, 1)
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(1, blocks + 1):
            name, stride = f"conv{stage}_block{block}_", 2 if stage > 2 and block == 1 else 1
            if block == 1:
                net.conv(x, name + "0", 4 * filters, 1, stride, "valid")
            x = net.conv(x, name + "1", filters, 1, stride, "valid")
            x = net.conv(x, name + "2", filters, 3)
            x = net.conv(x, name + "3", 4 * filters, 1)
    return net.done()


def inception_v3() -> tuple[ConvLayer, ...]:
    """Inception-v3 (Szegedy et al., 2016), as in Keras; `_dbl` is the branch of two 3 x 3 or factored 7 x 7."""
    net = Trace("inception_v3", 4)
    x = net.conv((299, 299, 3), "conv1", 32, 3, 2, "valid")
    x = net.conv(x, "conv2", 32, 3, 1, "valid")
    x = pool(net.conv(x, "conv3", 64), 3, 2)
    x = net.conv(x, "conv4", 80, 1)
    x = pool(net.conv(x, "conv5", 192, 3, 1, "valid"), 3, 2)

    def branch(start: Shape, name: str, *steps: tuple[int, PairLike]) -> Shape:
        for i, (filters, kernel) in enumerate(steps, 1):
            start = net.conv(start, f"{name}_{i}", filters, kernel)
        return start

    for i, projection in enumerate((32, 64, 64)):
        name = f"mixed{i}_"
        branch(x, name + "1x1", (64, 1))
        branch(x, name + "5x5", (48, 1), (64, 5))
        branch(x, name + "3x3_dbl", (64, 1), (96, 3), (96, 3))
        branch(x, name + "pool", (projection, 1))
        x = (*x[:2], 64 + 64 + 96 + projection)
    y = net.conv(x, "mixed3_3x3_1", 384, 3, 2, "valid")
    net.conv(branch(x, "mixed3_3x3_dbl", (64, 1), (96, 3)), "mixed3_3x3_dbl_3", 96, 3, 2, "valid")
    x = (*y[:2], 384 + 96 + x[2])
    for i, f in enumerate((128, 160, 160, 192), 4):
        name = f"mixed{i}_"
        branch(x, name + "1x1", (192, 1))
        branch(x, name + "7x7", (f, 1), (f, (1, 7)), (192, (7, 1)))
        branch(x, name + "7x7_dbl", (f, 1), (f, (7, 1)), (f, (1, 7)), (f, (7, 1)), (192, (1, 7)))
        branch(x, name + "pool", (192, 1))
    net.conv(branch(x, "mixed8_3x3", (192, 1)), "mixed8_3x3_2", 320, 3, 2, "valid")
    y = branch(x, "mixed8_7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)))
    y = net.conv(y, "mixed8_7x7x3_4", 192, 3, 2, "valid")
    x = (*y[:2], 320 + 192 + x[2])
    for i in (9, 10):
        name = f"mixed{i}_"
        branch(x, name + "1x1", (320, 1))
        for kind, steps in (("3x3", ((384, 1),)), ("3x3_dbl", ((448, 1), (384, 3)))):
            y = branch(x, name + kind, *steps)
            net.conv(y, name + kind + "_a", 384, (1, 3))
            net.conv(y, name + kind + "_b", 384, (3, 1))
        branch(x, name + "pool", (192, 1))
        x = (*x[:2], 320 + 4 * 384 + 192)
    return net.done()


def xception() -> tuple[ConvLayer, ...]:
    """Xception (Chollet, 2017): a separable convolution is a depthwise one and a 1 x 1."""
    net = Trace("xception", 4)
    x = net.conv((299, 299, 3), "block1_conv1", 32, 3, 2, "valid")
    x = net.conv(x, "block1_conv2", 64, 3, 1, "valid")
    for block in range(2, 15):
        if block < 5 or block == 13:
            filters = {2: (128, 128), 3: (256, 256), 4: (728, 728), 13: (728, 1024)}[block]
            shortcut = net.conv(x, f"block{block}_shortcut", filters[-1], 1, 2)
        else:
            filters = (1536, 2048) if block == 14 else (728, 728, 728)  # type: ignore[assignment]
        for i, k in enumerate(filters, 1):
            name = f"block{block}_sepconv{i}_"
            x = net.conv(net.depthwise(x, name + "depthwise"), name + "pointwise", k, 1)
        if block < 5 or block == 13:
            x = shortcut
    return net.done()


def squeezenet() -> tuple[ConvLayer, ...]:
    """SqueezeNet 1.0 (Iandola et al., 2016, table 1)."""
    net = Trace("squeezenet", 8)
    x = pool(net.conv((227, 227, 3), "conv1", 96, 7, 2, "valid"), 3, 2, ceil=True)
    return _fires(net, x, pools=(4, 8))


def squeezenet11() -> tuple[ConvLayer, ...]:
    """SqueezeNet 1.1: the authors' later version, with 2.4 times less to compute."""
    net = Trace("squeezenet1.1", 8)
    x = pool(net.conv((227, 227, 3), "conv1", 64, 3, 2, "valid"), 3, 2, ceil=True)
    return _fires(net, x, pools=(3, 5))


def _fires(net: Trace, x: Shape, pools: Pair) -> tuple[ConvLayer, ...]:
    """Fire modules 2 to 9 and the classifier; a pool follows the modules `pools`."""
    for fire, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
        name = f"fire{fire}_"
        y = net.conv(x, name + "squeeze1x1", squeeze, 1)
        net.conv(y, name + "expand1x1", 4 * squeeze, 1)
        net.conv(y, name + "expand3x3", 4 * squeeze)
        x = (*y[:2], 8 * squeeze)
        if fire in pools:
            x = pool(x, 3, 2, ceil=True)
    net.conv(x, "conv10", 1000, 1)
    return net.done()


def mobilenet() -> tuple[ConvLayer, ...]:
    """MobileNet (Howard et al., 2017), as in Keras: strided layers pad at the bottom and right."""
    net, corner = Trace("mobilenet", 8), ((0, 1), (0, 1))
    x = net.conv((224, 224, 3), "conv1", 32, 3, 2, corner)
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    for i, (filters, stride) in enumerate(blocks, 1):
        x = net.depthwise(x, f"conv_dw_{i}", stride, corner if stride == 2 else "same")
        x = net.conv(x, f"conv_pw_{i}", filters, 1)
    net.conv((1, 1, x[2]), "conv_preds", 1000, 1)
    return net.done()


def densenet121() -> tuple[ConvLayer, ...]:
    """DenseNet-121 (Huang, Liu, van der Maaten, Weinberger, 2017): growth 32, transitions that halve the channels."""
    net = Trace("densenet121", 8)
    x = pool(net.conv((224, 224, 3), "conv1", 64, 7, 2, 3), 3, 2, 1)
    for stage, blocks in enumerate((6, 12, 24, 16), 2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}_"
            net.conv(net.conv(x, name + "1", 128, 1), name + "2", 32)
            x = (*x[:2], x[2] + 32)
        if stage < 5:
            x = pool(net.conv(x, f"pool{stage}", x[2] // 2, 1), 2, 2)
    return net.done()


NETWORKS: dict[str, Callable[[], tuple[ConvLayer, ...]]] = {
    "lenet": lenet,
    "alexnet": alexnet,
    "zfnet": zfnet,
    "vgg16": vgg16,
    "googlenet": googlenet,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "inception_v3": inception_v3,
    "xception": xception,
    "squeezenet": squeezenet,
    "squeezenet1.1": squeezenet11,
    "mobilenet": mobilenet,
    "densenet121": densenet121,
}
