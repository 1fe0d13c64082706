"""Weights from PyTorch: both formats of torch.save, safetensors, layouts, names; predictions are PyTorch's."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from support import assert_close, both_dtypes, randn
from torch_networks import DenseNet121, MobileNetV2, ResNet, SqueezeNet, randomised
from torch_oracle import nchw, torch

import fastconv as fc
from fastconv import layers
from fastconv.errors import CheckpointError
from fastconv.interop import load_torch_weights, load_weights, read_torch_file

nn = torch.nn
both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])


def save(obj, path, zipped=True, **options):
    torch.save(obj, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def same_predictions(model, module, shape, dtype="float32", seed=0, tolerance=None):
    x = randn(np.random.default_rng(seed), shape, dtype)
    with torch.no_grad():
        want = module.eval()(nchw(torch.from_numpy(x)).contiguous()).numpy()
    got = model.predict(x, verbose=0)
    assert np.abs(want).max() > 1e-3  # not all dead
    if want.ndim == 4:
        want = want.transpose(0, 2, 3, 1)
    if tolerance is None:
        assert_close(got, want.astype(np.float64), dtype)
    else:
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())


# ---- reading ----


@both_formats
def test_a_checkpoint_reads_as_pytorch_reads_it(tmp_path, zipped):
    base = torch.arange(24.0)
    tensors = {
        "transposed": torch.randn(4, 5).T,
        "view": base[2:8].reshape(2, 3),
        "strided": base[::3],
        "parameter": nn.Parameter(torch.randn(2, 3)),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "bfloat16": torch.randn(5).bfloat16(),
        **{str(t): torch.arange(4).to(t) for t in (torch.half, torch.double, torch.int, torch.short, torch.int8)},
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    path = save({"state_dict": tensors, "epoch": 3, "optimizer": {"betas": (0.9, None)}}, tmp_path / "c.pth", zipped)
    arrays = read_torch_file(path)
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        want = (tensor.float() if name == "bfloat16" else tensor).detach().numpy()
        assert arrays[name].dtype == want.dtype, name
        np.testing.assert_array_equal(arrays[name], want, name)


@both_formats
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path, zipped, protocol):
    state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    arrays = read_torch_file(save(state, tmp_path / "c.pth", zipped, pickle_protocol=protocol))
    assert list(arrays) == list(state)
    np.testing.assert_array_equal(arrays["0.weight"], state["0.weight"].numpy())


def test_big_endian_archive(tmp_path):
    path = save({"w": torch.arange(6.0), "n": torch.arange(3)}, tmp_path / "c.pth")
    swapped = tmp_path / "big.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(swapped, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if "/data/" in member.filename:
                data = np.frombuffer(data, f"u{4 if len(data) == 24 and member.filename.endswith('0') else 8}")
                data = data.byteswap().tobytes()
            new.writestr(member.filename, b"big" if member.filename.endswith("byteorder") else data)
    arrays = read_torch_file(swapped)
    np.testing.assert_array_equal(arrays["w"], np.arange(6.0))
    np.testing.assert_array_equal(arrays["n"], np.arange(3))
    assert arrays["w"].dtype.isnative


def test_pytorch_is_not_imported(tmp_path):
    path = save({"w": torch.ones(2)}, tmp_path / "c.pth")
    code = (
        "import sys; from fastconv.interop import read_torch_file; "
        f"print(read_torch_file({str(path)!r})['w'].sum(), 'torch' in sys.modules, 'h5py' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["2.0", "False", "False"]


# ---- layouts ----


def every_layer(dtype):
    """A chain with every kind of layer, in both frameworks."""
    module = nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), groups=2),
        nn.BatchNorm2d(6, eps=1e-3),
        nn.PReLU(6),
        nn.Conv2d(6, 12, 3, groups=6, bias=False),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 3, (2, 3), stride=2),
        nn.Conv2d(3, 6, (1, 3), groups=3, bias=False),
        nn.Conv2d(6, 5, 1),
        nn.Flatten(),
        nn.BatchNorm1d(5 * 8 * 9, eps=1e-3),
        nn.Dropout(0.5),
        nn.PReLU(5 * 8 * 9),
        nn.Linear(5 * 8 * 9, 7),
        nn.Linear(7, 3),
    ).to(getattr(torch, dtype))
    for prelu in (module[2], module[11]):
        prelu.weight.data.uniform_(-0.5, 0.5)
    options = {"dtype": dtype}
    model = fc.Sequential(
        [
            layers.Conv2D(6, (3, 2), groups=2, input_shape=(8, 8, 4), **options),
            layers.BatchNormalization(**options),
            layers.PReLU(shared_axes=(1, 2), **options),
            layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, **options),
            layers.ReLU(**options),
            layers.Conv2DTranspose(3, (2, 3), 2, **options),
            layers.SeparableConv2D(5, (1, 3), depth_multiplier=2, **options),
            layers.Flatten(**options),
            layers.BatchNormalization(**options),
            layers.Dropout(0.5, **options),
            layers.PReLU(**options),
            layers.Dense(7, **options),
            layers.Dense(3, **options),
        ]
    )
    return model, randomised(module)


@both_dtypes
@both_formats
def test_every_layer(tmp_path, dtype, zipped):
    model, module = every_layer(dtype)
    load_weights(model, save(module.state_dict(), tmp_path / "w.pth", zipped))
    same_predictions(model, module, (3, 8, 8, 4), dtype)


def test_from_a_dict_of_tensors_or_arrays():
    model, module = every_layer("float64")
    state = module.state_dict()
    load_torch_weights(model, state)
    same_predictions(model, module, (3, 8, 8, 4), "float64")
    load_torch_weights(model, {f"module.{name}": tensor.numpy() * 0.5 for name, tensor in state.items()})
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], state["13.weight"].numpy().T * 0.5)


def test_half_precision_and_double_convert(tmp_path):
    model, module = every_layer("float32")
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        state = {name: t.to(kind) if t.is_floating_point() else t for name, t in module.state_dict().items()}
        load_weights(model, save(state, tmp_path / "w.pth"))
        np.testing.assert_array_equal(model.layers[-1].get_weights()[0], state["13.weight"].float().numpy().T)
    state["13.weight"] = torch.full((3, 7), 1e300, dtype=torch.float64)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r"13\.weight.*beyond float32"):
        load_torch_weights(model, state)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_nested_models_and_shared_layers():
    inner = fc.Sequential([layers.Conv2D(2, 1, input_shape=(4, 4, 2)), layers.BatchNormalization()], name="inner")
    x = fc.Input((4, 4, 2))
    shared = layers.Conv2D(2, 3, padding="same")
    model = fc.Model(x, layers.Dense(3)(layers.Flatten()(shared(inner(shared(x))))))
    conv, inner_torch = nn.Conv2d(2, 2, 3, padding=1), nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, eps=1e-3))
    module = randomised(nn.Sequential(conv, inner_torch, conv, nn.Flatten(), nn.Linear(32, 3)))
    state = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith("2.")}
    load_torch_weights(model, state)
    same_predictions(model, module, (2, 4, 4, 2))


# ---- networks of torchvision ----

NETWORKS = {
    "resnet18": (lambda: ResNet((2, 2, 2, 2), False), "ResNet18", {}),
    "resnet50": (lambda: ResNet((3, 4, 6, 3), True), "ResNet50", {"variant": "torchvision"}),
    "mobilenet_v2": (MobileNetV2, "MobileNetV2", {"variant": "torchvision"}),
    "squeezenet1_1": (SqueezeNet, "SqueezeNet", {"version": "1.1"}),
    "densenet121": (DenseNet121, "DenseNet121", {}),
}


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, "pth") for name in NETWORKS] + [(name, "safetensors") for name in NETWORKS if name != "resnet50"],
)
def test_torchvision_network(tmp_path, name, suffix):
    make, function, options = NETWORKS[name]
    torch.manual_seed(1)
    module, path = randomised(make()), tmp_path / f"w.{suffix}"
    if suffix == "pth":
        save(module.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(module.state_dict(), path)
    build = getattr(fc.applications, function)
    model = build(weights=None, input_shape=(64, 64, 3), classifier_activation=None, **options)
    load_weights(model, path)
    same_predictions(model, module, (1, 64, 64, 3), tolerance=1e-4)


def test_torchvisions_mobilenet_v2_needs_its_variant():
    state = {name: np.zeros(tensor.shape, np.float32) for name, tensor in MobileNetV2().state_dict().items()}
    model = fc.applications.MobileNetV2(input_shape=(32, 32, 3))
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r'epsilon 1e-05.*0\.001.*variant="torchvision"'):
        load_torch_weights(model, state)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    load_torch_weights(model, state, mapping={"features.0.0": "Conv1"})
    assert not any(w.any() for w in model.get_weights())


def test_another_depth_of_resnet_names_the_layers():
    state = {name: tensor.numpy() for name, tensor in ResNet((2, 2, 1, 2), False).state_dict().items()}
    model = fc.applications.ResNet18(input_shape=(32, 32, 3))
    with pytest.raises(CheckpointError, match='missing: Conv2D "conv4_block2_1_conv"'):
        load_torch_weights(model, state)
    state = {name: tensor.numpy() for name, tensor in ResNet((2, 2, 2, 3), False).state_dict().items()}
    with pytest.raises(CheckpointError, match=r"extra: layer4\.2\.conv1 \(weight \(512, 512, 3, 3\)\)"):
        load_torch_weights(model, state)


def test_top_left_out_by_a_mapping():
    module = randomised(ResNet((2, 2, 2, 2), False))
    model = fc.applications.ResNet18(include_top=False, input_shape=(32, 32, 3))
    with pytest.raises(CheckpointError, match=r"extra: fc \(weight"):
        load_torch_weights(model, module.state_dict())
    load_torch_weights(model, module.state_dict(), mapping={"fc": None})
    np.testing.assert_array_equal(
        model.get_layer("conv5_block1_0_conv").get_weights()[0],
        module.layer4[0].downsample[0].weight.detach().numpy().transpose(2, 3, 1, 0),
    )


# ---- what does not fit ----


def chain():
    return fc.Sequential([layers.Conv2D(4, 3, input_shape=(6, 6, 2)), layers.Conv2D(4, 1), layers.Conv2D(3, 1)])


def chain_state():
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)).state_dict()


def _without(name):
    return lambda state: state.pop(name)


MISFITS = {
    "a bias is missing": (_without("1.bias"), r'missing: 1\.bias \(4,\) for Conv2D "conv2d_1"'),
    "a weight of another shape": (
        lambda s: s.update({"0.weight": torch.zeros(4, 3, 3, 3)}),
        r'0\.weight has shape \(4, 3, 3, 3\), Conv2D "conv2d" wants \(4, 2, 3, 3\)',
    ),
    "something more": (lambda s: s.update({"0.scale": torch.zeros(2)}), r"extra: 0\.scale \(2,\)"),
    "a module more": (
        lambda s: s.update({"9.weight": torch.zeros(2)}),
        r"4 modules with weights, the model 3 layers.*extra: 9 \(weight \(2,\)\)",
    ),
    "a module less": (
        lambda s: [s.pop("2.weight"), s.pop("2.bias")],
        r'2 modules with weights, the model 3 layers.*missing: Conv2D "conv2d_2"',
    ),
    "integers": (lambda s: s.update({"0.bias": torch.zeros(4, dtype=torch.long)}), r"0\.bias has dtype int64"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_misfits_are_named_and_change_nothing(tmp_path, case):
    change, message = MISFITS[case]
    model, state = chain(), chain_state()
    change(state)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, save(state, tmp_path / "w.pth"))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_network_with_batch_norm_says_where_it_differs():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1))
    with pytest.raises(CheckpointError, match=r"the first that differs, number 1: extra: 1\.running_mean"):
        load_torch_weights(chain(), module.state_dict())


def test_torchvisions_alexnet_is_another_network():
    shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    shapes += [(4096, 9216), (4096, 4096), (1000, 4096)]
    names = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    state = {}
    for name, shape in zip(names, shapes, strict=True):
        state[f"{name}.weight"] = np.broadcast_to(np.float32(0), shape)
        state[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    with pytest.raises(CheckpointError, match=r"features\.0\.weight has shape \(64, 3, 11, 11\).*\(96, 3, 11, 11\)"):
        load_torch_weights(fc.applications.AlexNet(), state)


def test_mapping():
    model, state = chain(), chain_state()
    swapped = {"first": "0", "b": "2", "a": "1"}  # defined in another order than used
    state = {f"{name}.{w}": state[f"{old}.{w}"] for name, old in swapped.items() for w in ("weight", "bias")}
    load_torch_weights(model, state, mapping={"b": "conv2d_2", "a": "conv2d_1"})
    np.testing.assert_array_equal(model.layers[2].get_weights()[1], state["b.bias"].numpy())
    np.testing.assert_array_equal(model.layers[0].get_weights()[1], state["first.bias"].numpy())
    for mapping, message in (
        ({"c": "conv2d"}, "no module 'c'.*first, b, a"),
        ({"a": "conv9"}, "no layer with weights 'conv9'.*conv2d_2"),
        ({"a": "conv2d", "b": "conv2d"}, "same layer: conv2d"),
    ):
        with pytest.raises(ValueError, match=message):
            load_torch_weights(model, state, mapping=mapping)


def test_mapping_to_the_halves_of_a_separable_convolution(tmp_path):
    x = fc.Input((5, 5, 2))
    model = fc.Model(x, layers.SeparableConv2D(3, 3, name="sep")(x))
    state = {
        "module.b.weight": torch.randn(3, 2, 1, 1),  # the pointwise half first, and wrapped by DataParallel
        "module.b.bias": torch.randn(3),
        "module.a.weight": torch.randn(2, 1, 3, 3),
    }
    path = save({"model_state_dict": state}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r'b\.weight has shape .* depthwise half of SeparableConv2D "sep"'):
        load_weights(model, path)
    load_torch_weights(model, path, {"a": "sep/depthwise", "b": "sep/pointwise"})
    depthwise, pointwise, bias = model.get_weights()
    np.testing.assert_array_equal(depthwise[..., 0], state["module.a.weight"].numpy()[:, 0].transpose(1, 2, 0))
    np.testing.assert_array_equal(pointwise[0, 0], state["module.b.weight"].numpy()[:, :, 0, 0].T)
    np.testing.assert_array_equal(bias, state["module.b.bias"].numpy())


def test_modules_named_as_layers_need_no_order():
    x = fc.Input((6, 6, 2))
    model = fc.Model(x, layers.Conv2D(2, 1, name="b")(layers.Conv2D(2, 1, name="a")(x)))
    state = {
        f"{m}.{w}": torch.randn(2, 2, 1, 1) if w == "weight" else torch.randn(2)
        for m in "ba"
        for w in ("weight", "bias")
    }
    load_torch_weights(model, state)
    np.testing.assert_array_equal(model.get_layer("a").get_weights()[1], state["a.bias"].numpy())


# ---- safetensors ----


def test_safetensors_finds_the_order_of_numbered_modules(tmp_path):
    from safetensors.torch import save_file

    module = nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(12)))  # "10" sorts before "2"
    model = fc.Sequential([layers.Conv2D(2, 1, **({"input_shape": (3, 4, 2)} if not i else {})) for i in range(12)])
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    same_predictions(model, module, (2, 3, 4, 2))
    save_file({n: t.bfloat16() for n, t in module.state_dict().items()}, tmp_path / "b.safetensors")
    load_weights(model, tmp_path / "b.safetensors")
    np.testing.assert_array_equal(
        model.layers[11].get_weights()[1], module[11].bias.bfloat16().float().detach().numpy()
    )


def test_safetensors_does_not_guess_an_order(tmp_path):
    from safetensors.torch import save_file

    names = {"0": "stem", "1": "body", "2": "head"}
    state = {f"{names[key[0]]}{key[1:]}": tensor for key, tensor in chain_state().items()}
    save_file(state, tmp_path / "w.safetensors")
    model = chain()
    with pytest.raises(CheckpointError, match=r"does not keep the order.*mapping="):
        load_weights(model, tmp_path / "w.safetensors")
    mapping = {"stem": "conv2d", "body": "conv2d_1", "head": "conv2d_2"}
    load_torch_weights(model, tmp_path / "w.safetensors", mapping)
    np.testing.assert_array_equal(model.layers[2].get_weights()[1], state["head.bias"].numpy())


def test_fastconvs_own_safetensors(tmp_path):
    first, second = chain(), chain()
    first.save_weights(tmp_path / "weights")
    load_weights(second, tmp_path / "weights")
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    first.compile("adam", "mse")
    first.save(tmp_path / "model.safetensors")
    third = chain()
    load_weights(third, tmp_path / "model.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), third.get_weights(), strict=True))


# ---- the module ----


def test_names_of_the_module():
    with pytest.raises(AttributeError, match="did you mean 'load_weights'"):
        fc.interop.load_weight  # noqa: B018
    assert callable(fc.interop.export_onnx)
    assert {"load_weights", "export_onnx", "pretrained"} <= {*dir(fc.interop)}


def test_not_built_and_missing(tmp_path):
    with pytest.raises(RuntimeError, match="not built"):
        load_weights(fc.Sequential([layers.Dense(2)]), save({"w": torch.ones(2)}, tmp_path / "w.pth"))
    with pytest.raises(RuntimeError, match="not built"):
        load_torch_weights(fc.Sequential([layers.Dense(2)]), {"w": np.ones(2)})
    with pytest.raises(FileNotFoundError):
        load_weights(chain(), tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError):
        load_weights(chain(), tmp_path)


def test_whole_modules_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules.*state_dict\(\)"):
        load_weights(chain(), save(nn.Sequential(nn.Conv2d(2, 4, 3)), tmp_path / "m.pth"))
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    (tmp_path / "list.pth").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="no state dict, but a list"):
        read_torch_file(tmp_path / "list.pth")
