"""The networks that follow their papers: sizes, agreement with PyTorch, gradients, errors.

The oracle is ``pytorchcv`` with random weights and random batch-norm statistics, where its graph is the paper's. It
differs, and the test changes it, in this:

- AlexNet, ZFNet: its local response normalisation is PyTorch's, whose alpha of 1e-4 multiplies the mean of five
  squares; the paper's multiplies their sum.
- ZFNet: it normalises before it pools, the paper after.
- NiN: its pools have a row and column of padding at every side, so that windows start at -1 and means count the
  padding; the authors' have none, start at 0 and round up.
- ENet: the pools with indices are 3 x 3 with stride 2, the paper's 2 x 2: there windows do not overlap, no value is put
  twice into one place, and the gradient of unpooling is defined.
- All: it ends in logits, so ``classifier_activation=None`` here.

SqueezeNet and ResNet-18 are the papers' graphs as they are.

GoogLeNet is not in it (its BN-Inception is another network), so that it is written down here from table 1.
"""

import types

import numpy as np
import pytest
from torch_oracle import torch

import fastconv as fc
from fastconv import applications, layers
from fastconv.applications.googlenet import AUXILIARY_LOSS_WEIGHT, LOSS_WEIGHTS, GoogLeNet
from fastconv.graph.costs import graph_costs
from fastconv.testing import gradcheck

nn, F = torch.nn, torch.nn.functional


@pytest.fixture(autouse=True)
def _seeds():
    torch.manual_seed(0)
    fc.utils.set_random_seed(1)


# ---- sizes ----

SIZES = [  # network, options, parameters, multiply-adds
    ("LeNet5", {}, 61_706, 416_520),
    ("AlexNet", {}, 62_378_344, 1_135_256_096),
    ("ZFNet", {}, 62_357_608, 1_168_032_896),
    ("GoogLeNet", {}, 6_998_552, 1_582_671_872),
    ("SqueezeNet", {}, 1_248_424, 832_667_936),
    ("SqueezeNet", {"bypass": "simple"}, 1_248_424, 832_667_936),
    ("SqueezeNet", {"bypass": "complex"}, 1_589_672, 1_183_953_184),
    ("SqueezeNet", {"version": "1.1"}, 1_235_496, 387_747_520),
    ("NiN", {}, 966_986, 222_486_528),
    ("ENet", {}, 358_060, 2_060_648_448),
]


@pytest.mark.parametrize(("name", "options", "parameters", "multiply_adds"), SIZES)
def test_parameters_and_multiply_adds(name, options, parameters, multiply_adds):
    function = getattr(applications, name)
    model = function(**options)
    assert sum(p.size for p in model.trainable_weights) == parameters
    assert graph_costs(model.graph, [model.input_shape]).multiply_adds == multiply_adds
    for number in (parameters, multiply_adds):
        assert f"{number:,}" in function.__doc__
    assert model.input_shape[1:] == applications.imagenet.network_of(name).input_shape


def test_parts_of_the_parameters():
    alexnet = applications.AlexNet(include_top=False)
    assert alexnet.get_layer("conv1").count_params() == 34_944
    assert alexnet.get_layer("conv2").count_params() == 614_656
    assert GoogLeNet(auxiliary=True).count_params() == 13_378_280


def shapes(model, *names):
    return [model.get_layer(name).output.shape[1:] for name in names]


def test_shapes_are_those_of_the_papers():
    conv_pool = ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")
    alexnet = [(55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256), (13, 13, 256), (6, 6, 256)]
    assert shapes(applications.AlexNet(include_top=False), *conv_pool) == alexnet
    zfnet = [(110, 110, 96), (55, 55, 96), (26, 26, 256), (13, 13, 256), (13, 13, 256), (6, 6, 256)]
    assert shapes(applications.ZFNet(include_top=False), *conv_pool) == zfnet
    squeezenet = applications.SqueezeNet()
    assert shapes(squeezenet, "conv1", "pool1", "fire4_concat", "pool4", "fire8_concat", "pool8", "conv10") == [
        (111, 111, 96), (55, 55, 96), (55, 55, 256), (27, 27, 256), (27, 27, 512), (13, 13, 512), (13, 13, 1000)
    ]  # fmt: skip
    assert shapes(applications.NiN(), "conv1", "pool1", "pool2", "cccp6") == [
        (32, 32, 192), (16, 16, 96), (8, 8, 192), (8, 8, 10)
    ]  # fmt: skip
    inception = [f"inception_{module}_output" for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
    sizes = [28] * 2 + [14] * 5 + [7] * 2
    channels = [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert shapes(GoogLeNet(), *inception) == [(s, s, c) for s, c in zip(sizes, channels, strict=True)]
    assert shapes(applications.ENet(), "initial_concat", "bottleneck1_4_add", "bottleneck3_8_add", "bottleneck4_2_add",
                  "bottleneck5_1_add", "fullconv") == [
        (256, 256, 16), (128, 128, 64), (64, 64, 128), (128, 128, 64), (256, 256, 16), (512, 512, 19)
    ]  # fmt: skip


# ---- predictions, against PyTorch ----


def randomised(net):
    """Random biases, slopes and batch-norm statistics; kernels stay as they were initialised."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.2)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.5)
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.1)
    return net.eval()


def arrays(module, node):
    """The weights of a PyTorch module as the layer of ``node`` wants them."""
    if isinstance(module, nn.BatchNorm2d):
        return [t.numpy() for t in (module.weight, module.bias, module.running_mean, module.running_var)]
    weight = module.weight.numpy()
    if isinstance(module, nn.PReLU):
        return [weight.reshape(1, 1, -1)]
    if weight.ndim == 4:  # a convolution (K, C, KH, KW), or a transposed one (C, K, KH, KW)
        weight = weight.transpose(2, 3, 1, 0)
    else:
        before = node.inputs[0].node
        if isinstance(before.layer, layers.Flatten):  # PyTorch flattens (C, H, W)
            h, w, c = before.inputs[0].shape[1:]
            weight = weight.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(weight), -1)
        weight = weight.T
    return [weight] if module.bias is None else [weight, module.bias.numpy()]


def carry(net, model):
    """Give the model the weights of a PyTorch net that registers its modules in the order in which they run."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, nn.PReLU)
    modules = [module for module in net.modules() if isinstance(module, kinds)]
    nodes = [node for node in model.graph.nodes if node.layer.parameters]
    with torch.no_grad():
        for module, node in zip(modules, nodes, strict=True):
            node.layer.set_weights(arrays(module, node))


def images(shape, batch=2, scale=1.0, seed=0):
    """Noise on a colour of its own for each image, so that predictions differ even after a mean over all pixels."""
    rng = np.random.default_rng(seed)
    colours = rng.standard_normal((batch, 1, 1, shape[-1]))
    return (scale * (colours + rng.standard_normal((batch, *shape)))).astype(np.float32)


def predicted(net, x):
    """The predictions of a PyTorch net, in fastconv's layout."""
    with torch.no_grad():
        y = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


def difference(got, want):
    """Largest error, relative to the spread of the predictions between samples, which is what they say."""
    assert got.shape == want.shape
    spread = np.abs(want - want.mean(axis=0)).max()
    assert spread > 1e-3 * np.abs(want).max()
    return np.abs(got - want).max() / spread


def pytorchcv(module):
    package = pytest.importorskip("pytorchcv.models", reason="needs pytorchcv (pip install --no-deps pytorchcv)")
    return __import__(f"{package.__name__}.{module}", fromlist=[module])


def as_in_the_paper(monkeypatch):
    """Make pytorchcv's AlexNet and ZFNet multiply the sum of squares by alpha."""
    normalise = lambda x, size, k: F.local_response_norm(x, size, alpha=size * 1e-4, beta=0.75, k=k)  # noqa: E731
    monkeypatch.setattr(pytorchcv("alexnet"), "F", types.SimpleNamespace(local_response_norm=normalise))


def test_alexnet_predicts_as_pytorchcv(monkeypatch):
    net = randomised(pytorchcv("alexnet").alexnet(num_classes=20))
    model = applications.AlexNet(classes=20, classifier_activation=None)
    carry(net, model)
    x = images((227, 227, 3), scale=60)
    assert difference(model(x), predicted(net, x)) > 0.01  # pixels up to 200: the normalisation matters
    as_in_the_paper(monkeypatch)
    assert difference(model(x), predicted(net, x)) < 1e-4


def test_zfnet_predicts_as_pytorchcv():
    net = randomised(pytorchcv("zfnet").zfnet(num_classes=20))
    model = applications.ZFNet(classes=20, classifier_activation=None)
    carry(net, model)
    x = images((224, 224, 3), scale=60)
    assert difference(model(x), predicted(net, x)) > 0.01
    for stage, pool in ((net.features.stage1, "pool1"), (net.features.stage2, "pool2")):
        stage.unit1.use_lrn = False
        setattr(stage, pool, nn.Sequential(getattr(stage, pool), nn.LocalResponseNorm(5, alpha=5e-4, k=2.0)))
    assert difference(model(x), predicted(net, x)) < 1e-4


@pytest.mark.parametrize(
    ("oracle", "options"),
    [
        ("squeezenet_v1_0", {}),
        ("squeezenet_v1_1", {"version": "1.1"}),
        ("squeezeresnet_v1_0", {"bypass": "simple"}),
        ("squeezeresnet_v1_1", {"version": "1.1", "bypass": "simple"}),
    ],
)
def test_squeezenet_predicts_as_pytorchcv(oracle, options):
    net = randomised(getattr(pytorchcv("squeezenet"), oracle)(num_classes=20))
    nn.init.normal_(net.output.final_conv.weight, 0, 0.1)  # with its N(0, 0.01) it would predict its biases
    model = applications.SqueezeNet(classes=20, input_shape=(224, 224, 3), classifier_activation=None, **options)
    carry(net, model)
    x = images((224, 224, 3))
    assert difference(model(x), predicted(net, x)) < 1e-4


def test_complex_bypasses_are_simple_ones_and_convolutions():
    simple = applications.SqueezeNet(bypass="simple", input_shape=(64, 64, 3), classes=20)
    model = applications.SqueezeNet(bypass="complex", input_shape=(64, 64, 3), classes=20)
    bypasses = [layer for layer in model.layers if layer.name.endswith("bypass1x1")]
    assert [layer.name for layer in bypasses] == [f"fire{i}_bypass1x1" for i in (2, 4, 6, 8)]
    for layer in simple.layers:
        if layer.parameters:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    x = images((64, 64, 3))
    want = simple(x)
    assert difference(model(x), want) > 1e-2
    for layer in bypasses:
        layer.set_weights([np.zeros(p.shape) for p in layer.parameters])
    np.testing.assert_array_equal(model(x), want)


def test_nin_predicts_as_pytorchcv():
    net = randomised(pytorchcv("nin_cifar").nin_cifar10())
    model = applications.NiN(classifier_activation=None)
    carry(net, model)
    x = images((32, 32, 3))
    assert difference(model(x), predicted(net, x)) > 0.01
    net.features.stage2.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
    net.features.stage3.pool3 = nn.AvgPool2d(3, 2, ceil_mode=True)
    assert difference(model(x), predicted(net, x)) < 1e-4


def test_enet_predicts_as_pytorchcv():
    net = randomised(pytorchcv("enet").enet_cityscapes(in_size=(64, 96)))
    assert sum(p.numel() for p in net.parameters()) == 358_060
    model = applications.ENet(input_shape=(None, None, 3), classifier_activation=None)
    carry(net, model)
    x = images((64, 96, 3))
    for stage in (net.stage1, net.stage2):
        stage.scale_unit.identity_block.pool = nn.MaxPool2d(2, 2, return_indices=True)
    want = predicted(net, x)
    assert model(x).shape == (2, 64, 96, 19)
    assert difference(model(x), want) < 1e-4
    probabilities = applications.ENet(input_shape=(64, 96, 3))
    probabilities.set_weights(model.get_weights())
    np.testing.assert_allclose(probabilities(x).sum(axis=-1), 1, rtol=1e-5)


def test_resnet18_predicts_as_pytorchcv():
    pytest.importorskip("fastconv.applications.resnet", reason="needs ResNet18")
    net = randomised(pytorchcv("resnet").resnet18(num_classes=20))
    for unit in net.modules():
        if hasattr(unit, "identity_conv"):
            unit.body = unit._modules.pop("body")  # after the projection, as here
    model = applications.ResNet18(classes=20, classifier_activation=None)
    carry(net, model)
    x = images((224, 224, 3))
    assert difference(model(x), predicted(net, x)) < 1e-4


class Inception(nn.Module):
    """GoogLeNet, figure 2(b)."""

    def __init__(self, channels, one, reduce3, three, reduce5, five, projection):
        super().__init__()
        self.one = nn.Conv2d(channels, one, 1)
        self.reduce3, self.three = nn.Conv2d(channels, reduce3, 1), nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5, self.five = nn.Conv2d(channels, reduce5, 1), nn.Conv2d(reduce5, five, 5, padding=2)
        self.projection = nn.Conv2d(channels, projection, 1)

    def forward(self, x):
        three = self.three(F.relu(self.reduce3(x)))
        five = self.five(F.relu(self.reduce5(x)))
        projection = self.projection(F.max_pool2d(x, 3, 1, 1))
        return F.relu(torch.cat((self.one(x), three, five, projection), 1))


class TorchGoogLeNet(nn.Module):
    """GoogLeNet, table 1, with both auxiliary heads."""

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2_reduce = nn.Conv2d(3, 64, 7, 2, 3), nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        self.stage3 = nn.Sequential(Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64))
        self.a4 = Inception(480, 192, 96, 208, 16, 48, 64)
        self.b4, self.c4 = Inception(512, 160, 112, 224, 24, 64, 64), Inception(512, 128, 128, 256, 24, 64, 64)
        self.d4 = Inception(512, 112, 144, 288, 32, 64, 64)
        self.e4 = Inception(528, 256, 160, 320, 32, 128, 128)
        self.stage5 = nn.Sequential(
            Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128)
        )
        self.classifier = nn.Linear(1024, classes)
        self.head1 = self.head(512, classes)
        self.head2 = self.head(528, classes)

    @staticmethod
    def head(channels, classes):
        return nn.Sequential(
            nn.AvgPool2d(5, 3), nn.Conv2d(channels, 128, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, classes),
        )  # fmt: skip

    def forward(self, x):
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        x = norm(pool(F.relu(self.conv1(x))))
        x = pool(norm(F.relu(self.conv2(F.relu(self.conv2_reduce(x))))))
        x4a = self.a4(pool(self.stage3(x)))
        x4d = self.d4(self.c4(self.b4(x4a)))
        x = self.stage5(pool(self.e4(x4d))).mean(dim=(2, 3))
        return torch.stack((self.classifier(x), self.head1(x4a), self.head2(x4d)))


def test_googlenet_predicts_as_the_paper_s_table_in_pytorch():
    net = TorchGoogLeNet(20)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight)
    randomised(net)
    model = GoogLeNet(auxiliary=True, classes=20, classifier_activation=None)
    carry(net, model)
    # Other graphs that share the layers: without heads, without a top.
    plain = GoogLeNet(classes=20, classifier_activation=None)
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights() if layer.parameters else [])
    x = images((224, 224, 3), scale=30)
    want = predicted(net, x)
    got = model(x)
    for i in range(3):
        assert difference(got[i], want[i]) < 1e-4
    assert difference(plain(x), want[0]) < 1e-4


# ---- training ----

SMALL = [  # network, options, the smallest image that a step of training makes sense on
    ("LeNet5", {}, (16, 16, 1)),
    ("AlexNet", {}, (67, 67, 3)),
    ("ZFNet", {}, (63, 63, 3)),
    ("GoogLeNet", {"auxiliary": True}, (79, 79, 3)),
    ("SqueezeNet", {}, (49, 49, 3)),
    ("SqueezeNet", {"version": "1.1", "bypass": "complex"}, (49, 49, 3)),
    ("NiN", {}, (16, 16, 3)),
    ("ENet", {}, (32, 32, 3)),
]


@pytest.mark.parametrize(("name", "options", "shape"), SMALL)
def test_a_step_of_training_moves_every_weight(name, options, shape):
    model = getattr(applications, name)(input_shape=shape, classes=7, **options)
    outputs = len(model.outputs)
    model.compile(
        fc.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        loss_weights=list(LOSS_WEIGHTS) if outputs > 1 else None,
    )
    x = images(shape, batch=4)
    y = np.random.default_rng(1).integers(0, 7, (4, *model.outputs[0].shape[1:-1]))
    before = model.get_weights()
    model.fit(x, [y] * outputs if outputs > 1 else y, batch_size=4, verbose=0)
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    names = [path for path, _ in model.named_parameters()]
    still = [n for n, a, b in zip(names, before, after, strict=True) if np.array_equal(a, b)]
    assert not still


def test_auxiliary_losses_count_three_tenths():
    assert AUXILIARY_LOSS_WEIGHT == 0.3
    model = GoogLeNet(auxiliary=True, input_shape=(79, 79, 3), classes=5, width=0.1)
    assert [t.node.layer.name for t in model.outputs] == ["loss3_classifier", "loss1_classifier", "loss2_classifier"]
    model.compile("sgd", "sparse_categorical_crossentropy", loss_weights=list(LOSS_WEIGHTS))
    x, y = images((79, 79, 3)), np.array([1, 3])
    total, *_ = model.evaluate(x, [y] * 3, verbose=0)
    main, first, second = (-np.log(p[np.arange(2), y]).mean() for p in model(x))
    assert total == pytest.approx(main + 0.3 * (first + second), rel=1e-5)


NARROW = [  # network, options, image, width
    ("LeNet5", {}, (16, 16, 1), 0.5),
    ("AlexNet", {}, (67, 67, 3), 0.04),
    ("ZFNet", {}, (63, 63, 3), 0.04),
    ("GoogLeNet", {"auxiliary": True}, (79, 79, 3), 0.08),
    ("SqueezeNet", {"bypass": "complex"}, (32, 32, 3), 0.15),
    ("SqueezeNet", {"version": "1.1"}, (32, 32, 3), 0.1),
    ("NiN", {}, (16, 16, 3), 0.04),
    ("ENet", {}, (16, 16, 3), 0.25),
]
#: ENet's modules that repeat others: frozen, so that gradients pass through them but their weights cost no time.
REPEATED = tuple(f"bottleneck{i}" for i in ("1_2", "1_3", "1_4", "2_5", "2_6", "2_7", "2_8", "3", "4_2"))


@pytest.mark.parametrize(("name", "options", "shape", "width"), NARROW)
def test_gradients_of_a_narrow_copy(name, options, shape, width):
    model = getattr(applications, name)(input_shape=shape, classes=3, width=width, **options)
    for layer in model.layers:
        if layer.name.startswith(REPEATED):
            layer.trainable = False
    report = gradcheck(model, elements=1)  # besides two random directions of every tensor, which hold all elements
    assert report.passed, report
    assert all(tensor.nonzero for tensor in report.tensors), report


# ---- arguments ----


@pytest.mark.parametrize("name", ["LeNet5", "AlexNet", "ZFNet", "GoogLeNet", "SqueezeNet", "NiN", "ENet"])
def test_without_a_top(name):
    function = getattr(applications, name)
    channels = 1 if name == "LeNet5" else 3
    maps = function(include_top=False, input_shape=(None, None, channels), width=0.1)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        model = function(include_top=False, input_shape=(80, 88, channels), pooling=pooling, width=0.1)
        model.set_weights(maps.get_weights())
        x = images((80, 88, channels))
        np.testing.assert_allclose(model(x), reduce(maps(x), axis=(1, 2)), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="pooling"):
        function(include_top=False, pooling="sum", width=0.1)


@pytest.mark.parametrize(("name", "minimum"), [
    ("LeNet5", 12), ("AlexNet", 67), ("ZFNet", 63), ("GoogLeNet", 47), ("SqueezeNet", 29), ("NiN", 6), ("ENet", 8),
])  # fmt: skip
def test_the_smallest_image(name, minimum):
    function = getattr(applications, name)
    channels = 1 if name == "LeNet5" else 3
    for top in (True, False):
        function(include_top=top, input_shape=(minimum, minimum + 8, channels), width=0.05)
        with pytest.raises(ValueError, match=f"width must be at least {minimum}"):
            function(include_top=top, input_shape=(minimum, minimum - 1, channels), width=0.05)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"version must be '1.0' or '1.1', got '2.0'"):
        applications.SqueezeNet(version="2.0")
    with pytest.raises(ValueError, match=r"version must be .* got 1\.1"):
        applications.SqueezeNet(version=1.1)
    with pytest.raises(ValueError, match="bypass must be None, 'simple' or 'complex', got 'both'"):
        applications.SqueezeNet(bypass="both")
    with pytest.raises(ValueError, match=r"multiples of 8, got input shape \(64, 60, 3\)"):
        applications.ENet(input_shape=(64, 60, 3))
    anything = applications.ENet(input_shape=(None, None, 3), width=0.3)
    for size in (9, 10, 12, 20, 28, 34):
        with pytest.raises(ValueError, match=r"shape|could not be broadcast"):
            anything(images((size, 16, 3)))
    with pytest.raises(ValueError, match="include_top=True"):
        GoogLeNet(auxiliary=True, include_top=False)
    with pytest.raises(ValueError, match="height must be at least 79"):
        GoogLeNet(auxiliary=True, input_shape=(78, 90, 3))
    with pytest.raises(ValueError, match="known height"):
        GoogLeNet(auxiliary=True, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="known height"):
        applications.AlexNet(input_shape=(None, 227, 3))
    with pytest.raises(ValueError, match="no ImageNet weights are published for nin"):
        applications.NiN(weights="imagenet")
    for width, error in ((0, ValueError), (-1.0, ValueError), (float("nan"), ValueError), ("1", TypeError)):
        with pytest.raises(error, match="width"):
            applications.LeNet5(width=width)
    for classes, error in ((0, ValueError), (2.5, TypeError)):
        for function in (applications.LeNet5, applications.NiN, applications.ENet):
            with pytest.raises(error, match=r"units|filters"):
                function(classes=classes)


def test_a_network_on_another_model_s_tensor():
    image = layers.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(image)
    tail = applications.NiN(input_tensor=x, width=0.05)
    model = fc.Model(image, tail.output)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(model(pixels), tail(pixels / np.float32(255)), rtol=1e-5)
    with pytest.raises(ValueError, match="multiples of 8"):
        applications.ENet(input_tensor=layers.Input((20, 16, 3)))
