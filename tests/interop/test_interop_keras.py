"""Weights from Keras: the layout of keras.applications, and that of Keras 3; predictions are Keras'."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support import randn
from torch_oracle import keras_on_torch

import fastconv as fc
from fastconv import layers
from fastconv.errors import CheckpointError
from fastconv.interop import load_keras_weights, load_weights

h5py = pytest.importorskip("h5py", reason="needs h5py")
keras = keras_on_torch()
kl = keras.layers

LAYOUTS = ("weights", "model", "keras3")
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


def save(model, folder, layout):
    """Write a Keras model's weights: as keras.applications publishes them, in a whole model, or as Keras 3 does."""
    if layout == "keras3":
        path = folder / "k.weights.h5"
        model.save_weights(path)
        return path
    path = folder / "k.h5"
    if layout == "model":
        model.save(path)
        return path
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


def randomise(model, seed=0):
    """Weights, and batch-norm statistics, that no layer begins with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        scale = 1 / np.sqrt(max(np.prod(weight.shape[:-1]), 1))
        values = rng.normal(0, scale, weight.shape)
        statistics = weight.path.rsplit("/", 1)[-1] in ("gamma", "moving_variance")
        weight.assign(np.abs(values) * 0.5 + 0.5 if statistics else values)
    return model


def same_predictions(ours, theirs, shape):
    x = randn(np.random.default_rng(5), shape, "float32")
    want = theirs.predict(x, verbose=0)
    assert want.std() > 1e-5
    np.testing.assert_allclose(ours.predict(x, verbose=0), want, atol=1e-4 * np.abs(want).max())


def every_layer(module, model, sequential, first):
    """All kinds of layers with weights, a nested model among them, in Keras (``module``) or here."""
    inner = sequential(
        [
            first((4, 4, 2)),
            module.Conv2D(3, 1),
            module.BatchNormalization(),
            module.Conv2D(3, 1, name="last"),
            module.BatchNormalization(scale=False),
        ],
        name="inner",
    )
    x = inputs = first((8, 8, 4))
    x = module.Conv2D(6, 3, groups=2)(x)
    x = module.BatchNormalization(name="chosen")(x)
    x = module.PReLU(shared_axes=[1, 2])(x)
    x = module.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = module.BatchNormalization(center=False)(x)
    x = module.SeparableConv2D(3, 2, depth_multiplier=2)(x)
    x = module.Conv2DTranspose(2, 2)(x)
    x = inner(x)
    x = module.PReLU()(x)
    x = module.Dropout(0.5)(module.Flatten()(x))
    return model(inputs, module.Dense(3, activation="softmax", name="predictions")(module.Dense(5)(x)))


def ours():
    return every_layer(layers, fc.Model, fc.Sequential, fc.Input)


def theirs():
    return randomise(every_layer(kl, keras.Model, keras.Sequential, keras.Input))


@both_layouts
def test_every_layer(tmp_path, layout):
    model, keras_model = ours(), theirs()
    load_weights(model, save(keras_model, tmp_path, layout))
    same_predictions(model, keras_model, (3, 8, 8, 4))
    order = [
        w.numpy() if not hasattr(w, "detach") else w.detach().numpy() for w in (v.value for v in keras_model.weights)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), order, strict=True))


@both_layouts
def test_frozen_parts_keep_their_order(tmp_path, layout):
    """In Keras' older layout a frozen nested model lists its weights in another order."""
    model, keras_model = ours(), theirs()
    keras_model.get_layer("inner").trainable = False
    load_weights(model, save(keras_model, tmp_path, layout))
    same_predictions(model, keras_model, (3, 8, 8, 4))


@both_layouts
def test_compiled_models_and_their_optimizer(tmp_path, layout):
    model, keras_model = ours(), theirs()
    keras_model.compile("adam", "mse")
    keras_model.fit(np.ones((2, 8, 8, 4)), np.ones((2, 3)), verbose=0)
    load_weights(model, save(keras_model, tmp_path, layout))
    same_predictions(model, keras_model, (3, 8, 8, 4))


@both_layouts
def test_names_from_any_counter_and_chosen_ones_out_of_order(tmp_path, layout):
    def branches(module, model, first, order):
        x = first((3, 3, 2))
        ends = {name: module.Conv2D(2, 1, name=name)(module.Conv2D(2, 1)(x)) for name in ("left", "right")}
        ends["plain"] = module.Conv2D(2, 1)(x)
        return model(x, module.Concatenate()([ends[name] for name in order]))

    kl.Conv2D(1, 1)  # its name is taken: the next are conv2d_1, ...
    keras_model = randomise(branches(kl, keras.Model, keras.Input, ("left", "right", "plain")))
    assert "conv2d" not in [layer.name for layer in keras_model.layers]
    path = save(keras_model, tmp_path, layout)
    model = branches(layers, fc.Model, fc.Input, ("left", "right", "plain"))
    load_weights(model, path)
    same_predictions(model, keras_model, (2, 3, 3, 2))
    other = branches(layers, fc.Model, fc.Input, ("right", "left", "plain"))
    load_weights(other, path)
    for name in ("left", "right"):
        np.testing.assert_array_equal(other.get_layer(name).get_weights()[0], model.get_layer(name).get_weights()[0])


APPLICATIONS = {
    "MobileNetV2": ({"alpha": 0.35, "input_shape": (32, 32, 3), "classes": 7}, (1, 32, 32, 3)),
    "InceptionV3": ({"include_top": False, "input_shape": (75, 75, 3), "pooling": "avg"}, (1, 75, 75, 3)),
}


@pytest.mark.parametrize(
    ("name", "layout"), [("MobileNetV2", "weights"), ("MobileNetV2", "keras3"), ("InceptionV3", "weights")]
)
def test_networks_of_keras_applications(tmp_path, name, layout):
    options, shape = APPLICATIONS[name]
    keras_model = randomise(getattr(keras.applications, name)(weights=None, **options))
    path = save(keras_model, tmp_path, layout)
    model = getattr(fc.applications, name)(weights=str(path), **options)
    same_predictions(model, keras_model, shape)


def test_other_precisions_convert(tmp_path):
    keras_model = randomise(keras.Sequential([keras.Input((3,)), kl.Dense(2)]))
    path = save(keras_model, tmp_path, "weights")
    kernel = keras_model.get_weights()[0]
    model = fc.Sequential([layers.Dense(2, input_shape=(3,))])
    for dtype in ("float16", "float64", ">f4"):
        with h5py.File(path, "r+") as file:
            (name,) = [key for key in file if key.startswith("dense")]
            weight = next(n for n in file[name].attrs["weight_names"] if "kernel" in n)
            del file[name][weight]
            file[name][weight] = kernel.astype(dtype)
        load_weights(model, path)
        np.testing.assert_array_equal(model.get_weights()[0], kernel.astype(dtype).astype("float32"))


def test_compressed_and_split_attributes(tmp_path):
    """HDF5 stores at most 64 KB in an attribute, so Keras splits long lists; others compress their files."""
    model = fc.Sequential([layers.Dense(2, input_shape=(3,)), layers.Dense(2)])
    values = [randn(np.random.default_rng(i), shape, "float32") for i, shape in enumerate([(3, 2), (2,), (2, 2), (2,)])]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = np.array([b"dense_5"]), np.array([b"dense_6"])
        for i, name in enumerate(("dense_5", "dense_6")):
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([b"k:0", b"b:0"])
            group.create_dataset("k:0", data=values[2 * i], compression="gzip", shuffle=True, fletcher32=True)
            group.create_dataset("b:0", data=values[2 * i + 1], compression="lzf")
    load_weights(model, tmp_path / "w.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), values, strict=True))


# ---- what does not fit ----


def small(filters=3, extra=False, **options):
    return fc.Sequential(
        [
            layers.Conv2D(filters, 3, input_shape=(5, 5, 2), name="stem"),
            layers.BatchNormalization(**options),
            *([layers.Conv2D(2, 1, name="late")] if extra else []),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ]
    )


def small_keras(extra=False, **options):
    late = [kl.Conv2D(2, 1, name="more")] if extra else []
    stack = [keras.Input((5, 5, 2)), kl.Conv2D(3, 3, name="stem"), kl.BatchNormalization(**options), *late]
    return randomise(keras.Sequential([*stack, kl.Flatten(), kl.Dense(2, name="head")]))


MISFITS = {
    "a layer of another shape": (
        {"filters": 4},
        {},
        r'kernel of layer "stem" has shape \(3, 3, 2, 4\), .* in the file has \(3, 3, 2, 3\)',
    ),
    "a layer less": ({"extra": True}, {}, r"3 layers with weights, the model 4.*missing: \"late\"|missing: \"late\""),
    "a layer more": ({}, {"extra": True}, r"extra: 'more'"),
    "a weight less": ({}, {"scale": False}, r'layer "batch_normalization" has 4 weights \(gamma \(3,\).*in the file 3'),
}


@both_layouts
@pytest.mark.parametrize("case", MISFITS)
def test_misfits_are_named_and_change_nothing(tmp_path, layout, case):
    options, keras_options, message = MISFITS[case]
    model = small(**options)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(model, save(small_keras(**keras_options), tmp_path, layout))
    assert "unchanged" in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_gamma_is_not_taken_for_beta(tmp_path):
    """Without scale or without centre there are three weights of the same shape."""
    path = save(small_keras(center=False), tmp_path, "weights")
    with pytest.raises(CheckpointError, match=r"beta of layer .* would come from .*gamma"):
        load_weights(small(scale=False), path)


def test_other_files(tmp_path):
    model, keras_model = small(), small_keras()
    keras_model.save(tmp_path / "k.keras")
    with pytest.raises(CheckpointError, match=r"is a \.keras archive.*save_weights\('x\.weights\.h5'\)"):
        load_weights(model, tmp_path / "k.keras")
    path = save(keras_model, tmp_path, "weights")
    with h5py.File(path, "r+") as file:
        file.attrs["backend"] = "theano"
    with pytest.raises(CheckpointError, match="Theano"):
        load_keras_weights(model, path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(CheckpointError, match=r"neither of Keras' layouts.*'images'"):
        load_weights(model, tmp_path / "other.h5")
    with pytest.raises(RuntimeError, match="not built"):
        load_keras_weights(fc.Sequential([layers.Dense(2)]), path)
    with pytest.raises(FileNotFoundError):
        load_keras_weights(model, tmp_path / "none.h5")


def test_without_h5py(tmp_path, monkeypatch):
    path = save(small_keras(), tmp_path, "weights")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install fastconv\[interop\]"):
        load_weights(small(), path)
