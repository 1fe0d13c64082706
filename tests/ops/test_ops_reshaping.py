"""Zero padding, cropping, up-sampling and layout changes against PyTorch and NumPy."""

from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, assert_close, both_dtypes, both_implementations, integers, pads_of, randn
from torch_oracle import F, keras_on_torch, nchw, nhwc, torch, torch_gradients

from fastconv import ops

PADDINGS = [0, 1, (2, 1), (0, 3), ((1, 2), (3, 0)), ((0, 0), (0, 1))]


@both_implementations
@both_dtypes
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_zero_padding_and_cropping(impl: Any, padding: Any, dtype: str) -> None:
    (top, bottom), (left, right) = pads_of(padding, (1, 1), (1, 1), (1, 1))
    for channels in TAIL_CHANNELS:
        x = randn(np.random.default_rng(channels), (2, 5, 6, channels), dtype)
        y, dy, (dx,) = torch_gradients(lambda x: nhwc(F.pad(nchw(x), (left, right, top, bottom))), [x])
        padded = impl.zero_padding2d(x, padding)
        assert padded.dtype == dtype
        assert np.array_equal(padded, y)
        dy = dy.astype(dtype)
        assert np.array_equal(impl.zero_padding2d_backward(dy, padding), dx.astype(dtype))
        assert np.array_equal(impl.cropping2d(padded, padding), x)
        assert np.array_equal(impl.cropping2d_backward(x, padding, padded.shape), padded)


@both_implementations
def test_padding_keeps_nan_where_it_is(impl: Any) -> None:
    x = np.full((1, 2, 2, 5), np.nan, np.float32)
    y = impl.zero_padding2d(x, 1)
    assert np.isnan(y).sum() == x.size
    assert np.isnan(y[:, 1:3, 1:3]).all()


@both_implementations
@both_dtypes
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [1, 2, 3, (2, 1), (1, 4), (5, 3)], ids=str)
def test_upsampling(impl: Any, size: Any, interpolation: str, dtype: str) -> None:
    h, w = (size, size) if isinstance(size, int) else size
    options: dict[str, Any] = {} if interpolation == "nearest" else {"align_corners": False}
    for channels in (1, 3, 8, 15, 16, 17, 33):
        for height, width in [(4, 5), (1, 3), (1, 1)]:
            x = randn(np.random.default_rng(channels), (2, height, width, channels), dtype)
            out = (height * h, width * w)
            y, dy, (dx,) = torch_gradients(
                lambda x, out=out: nhwc(F.interpolate(nchw(x), size=out, mode=interpolation, **options)), [x]
            )
            assert_close(impl.upsampling2d(x, size, interpolation), y, dtype)
            assert_close(impl.upsampling2d_backward(dy.astype(dtype), size, interpolation), dx, dtype)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_is_keras(interpolation: str) -> None:
    keras = keras_on_torch()
    x = randn(np.random.default_rng(1), (2, 4, 5, 3), "float32")
    want = keras.layers.UpSampling2D((2, 3), interpolation=interpolation)(x).detach().numpy()
    assert_close(ops.upsampling2d(x, (2, 3), interpolation), want, "float32")


@both_implementations
def test_nearest_is_exact_and_keeps_nan_in_place(impl: Any) -> None:
    for channels in (1, 16, 33):
        x = integers(np.random.default_rng(2), (2, 3, 4, channels), "float32")
        x[1, 2, 0, channels - 1] = np.nan
        y = impl.upsampling2d(x, (2, 3))
        assert np.array_equal(y, x.repeat(2, axis=1).repeat(3, axis=2), equal_nan=True)
        assert np.isnan(y).sum() == 6
        assert np.isnan(y[1, 4:, :3, channels - 1]).all()


@both_implementations
def test_unknown_interpolation(impl: Any) -> None:
    for call in (impl.upsampling2d, impl.upsampling2d_backward):
        with pytest.raises(ValueError, match="'nearest' or 'bilinear', got 'cubic'"):
            call(np.zeros((1, 2, 2, 1)), 2, "cubic")


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x = np.zeros((0, 4, 6, 3), np.float32)
    assert impl.zero_padding2d(x, 1).shape == (0, 6, 8, 3)
    assert impl.cropping2d(x, 1).shape == (0, 2, 4, 3)
    assert impl.cropping2d_backward(x, 1, (0, 6, 8, 3)).shape == (0, 6, 8, 3)
    for interpolation in ("nearest", "bilinear"):
        assert impl.upsampling2d(x, 2, interpolation).shape == (0, 8, 12, 3)
        assert impl.upsampling2d_backward(x, 2, interpolation).shape == (0, 2, 3, 3)


@both_implementations
@both_dtypes
def test_layouts(impl: Any, dtype: str) -> None:
    for channels in TAIL_CHANNELS:
        for size in [(1, 1), (5, 7), (9, 16)]:
            x = randn(np.random.default_rng(3), (2, channels, *size), dtype)
            last = impl.nchw_to_nhwc(x)
            assert last.flags.c_contiguous
            assert last.dtype == dtype
            assert np.array_equal(last, torch.from_numpy(x).permute(0, 2, 3, 1).numpy())
            first = impl.nhwc_to_nchw(last)
            assert first.flags.c_contiguous
            assert np.array_equal(first, x)
            kernel = randn(np.random.default_rng(4), (6, channels, *size), dtype)
            hwio = impl.oihw_to_hwio(kernel)
            assert hwio.flags.c_contiguous
            assert np.array_equal(hwio, torch.from_numpy(kernel).permute(2, 3, 1, 0).numpy())
            oihw = impl.hwio_to_oihw(hwio)
            assert oihw.flags.c_contiguous
            assert np.array_equal(oihw, kernel)
    assert impl.nchw_to_nhwc(np.zeros((0, 3, 4, 5))).shape == (0, 4, 5, 3)
    assert impl.nhwc_to_nchw(np.zeros((0, 4, 5, 3))).shape == (0, 3, 4, 5)
