# %% [markdown]
# # LeNet, layer by layer
#
# In 1998 a network called LeNet-5 read the digits on bank cheques. It is small enough to understand
# completely, and everything in it is still at work in today's image networks. Here we build it
# piece by piece, look at what each piece computes and at what `backward` does, train it on 5,000
# handwritten digits, and look inside.
#
# Run this file as a script (`python tutorials/01_lenet.py`; the pictures go to `tutorial_output/`)
# or cell by cell in an editor that knows `# %%`. It takes less than a minute and needs no download.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastconv as fc
from fastconv import layers, visualization

fc.utils.set_random_seed(1)
OUTPUT = Path("tutorial_output")
OUTPUT.mkdir(exist_ok=True)


def show(figure, name):
    """Save a picture; a notebook also draws it, because it is the last value of a cell."""
    figure.savefig(OUTPUT / f"{name}.png", dpi=110)
    plt.close(figure)
    return figure


def draw_numbers(ax, array, title, limit=None, form="{:.0f}"):
    """Draw a small matrix as coloured squares with its numbers: blue below zero, red above."""
    limit = limit or np.abs(array).max() or 1
    ax.imshow(array, cmap="RdBu_r", vmin=-1.6 * limit, vmax=1.6 * limit)
    for (row, column), value in np.ndenumerate(array):
        ax.text(column, row, form.format(value), ha="center", va="center", fontsize=9)
    ax.set(title=title, xticks=[], yticks=[])


# %% [markdown]
# ## 1. A picture is a grid of numbers
#
# `load_data` returns bytes from 0 (paper) to 255 (ink). Networks like small numbers, so we divide
# by 255. fastconv keeps pictures as `(N, height, width, channels)`; a grey picture has one channel.

# %%
(x_train, y_train), (x_test, y_test) = fc.datasets.mnist_mini.load_data()
x_train = x_train[..., np.newaxis].astype(np.float32) / 255
x_test = x_test[..., np.newaxis].astype(np.float32) / 255
print("training pictures", x_train.shape, "labels", y_train.shape)

seven = x_test[np.flatnonzero(y_test == 7)[11]]  # (28, 28, 1)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
left.imshow(seven[:, :, 0], cmap="gray_r")
left.add_patch(plt.Rectangle((17.5, 5.5), 8, 8, fill=False, edgecolor="tab:red", linewidth=2))
left.set(title="a digit of 28 x 28 pixels", xticks=[], yticks=[])
draw_numbers(right, seven[6:14, 18:26, 0] * 255, "the pixels in the red square")
show(figure, "1_pixels")

# %% [markdown]
# ## 2. Convolution: the same small question asked everywhere
#
# A *filter* is a small grid of weights. Lay it on the picture, multiply each weight with the pixel
# under it, add up: one number. Then move one pixel on and do it again. The result is large where
# the picture looks like the filter.
#
# (Mathematicians would flip the filter first. No framework does, and neither do we.)


# %%
def convolve_by_hand(image, kernel):
    """(H, W) and (KH, KW) -> (H - KH + 1, W - KW + 1): the definition, slowly."""
    kh, kw = kernel.shape
    output = np.zeros((image.shape[0] - kh + 1, image.shape[1] - kw + 1), image.dtype)
    for row in range(output.shape[0]):
        for column in range(output.shape[1]):
            patch = image[row : row + kh, column : column + kw]
            output[row, column] = (patch * kernel).sum()
    return output


filters = {
    "vertical edges": np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], np.float32),
    "horizontal edges": np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]], np.float32),
    "blur": np.full((3, 3), 1 / 9, np.float32),
}
figure, axes = plt.subplots(2, 4, figsize=(10, 5.2), layout="constrained")
axes[0, 0].axis("off")
axes[1, 0].imshow(seven[:, :, 0], cmap="gray_r")
axes[1, 0].set(title="picture", xticks=[], yticks=[])
for (name, kernel), (top, bottom) in zip(filters.items(), axes.T[1:], strict=True):
    draw_numbers(top, kernel, f"filter: {name}", form="{:.2g}")
    answer = convolve_by_hand(seven[:, :, 0], kernel)
    limit = np.abs(answer).max()
    bottom.imshow(answer, cmap="RdBu_r", vmin=-limit, vmax=limit)
    bottom.set(title="answer, 26 x 26", xticks=[], yticks=[])
show(figure, "2_convolution")

# %% [markdown]
# `fc.ops.conv2d` computes the same, for a whole batch of pictures, all channels and many filters at
# once. Kernels have the shape `(height, width, input channels, filters)`. Over several channels a
# filter adds up the answers of all of them.

# %%
kernels = np.stack(list(filters.values()), axis=-1)[:, :, np.newaxis, :]  # (3, 3, 1, 3)
answers = fc.ops.conv2d(seven[np.newaxis], kernels)
print("conv2d:", seven[np.newaxis].shape, "with kernels", kernels.shape, "->", answers.shape)
np.testing.assert_allclose(answers[0, :, :, 0], convolve_by_hand(seven[:, :, 0], filters["vertical edges"]), atol=1e-5)

# %% [markdown]
# **How large is the answer?** A filter of size k fits into n pixels at `n - k + 1` places. With p
# pixels of zeros around the picture and steps of s (the *stride*) it is `floor((n + 2p - k) / s) +
# 1`. `padding="same"` chooses p so that, with stride 1, the size stays.
#
# **How do you make it fast?** Write every patch as a row of a matrix. Then the convolution is one
# matrix product. That is *im2col*; the C kernels of fastconv do the same without ever building the
# matrix.

# %%
for options in ({}, {"padding": "same"}, {"padding": 2, "strides": 3}):
    answers_shape = fc.ops.conv2d(seven[np.newaxis], kernels, **options).shape
    print(f"28 x 28, filter 3 x 3, {options or 'no padding, stride 1'} -> {answers_shape}")

patches = fc.ops.im2col(seven[np.newaxis], kernel_size=3)  # (26 * 26 places, 9 weights)
as_product = patches @ kernels.reshape(9, 3)
np.testing.assert_allclose(as_product.reshape(1, 26, 26, 3), answers, atol=1e-5)
print("im2col:", patches.shape, "@", kernels.reshape(9, 3).shape, "->", as_product.shape)

# %% [markdown]
# ## 3. ReLU and pooling
#
# A stack of convolutions alone would be one big convolution. *ReLU* breaks that: negative numbers
# become 0, "the pattern is not here". *Max pooling* then keeps the best answer of every 2 x 2
# pixels: it does not matter much where exactly the pattern was, and there is only a quarter left to
# compute.

# %%
numbers = np.array([[1, -3, -2, -5], [5, 4, -1, -6], [-2, 0, 3, 1], [7, -4, 2, 2]], np.float32)
positive = fc.ops.relu(numbers)
pooled, argmax = fc.ops.max_pool2d(positive.reshape(1, 4, 4, 1), pool_size=2)
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), layout="constrained")
draw_numbers(axes[0], numbers, "before", limit=7)
draw_numbers(axes[1], positive, "after ReLU", limit=7)
draw_numbers(axes[2], pooled[0, :, :, 0], "after max pooling 2 x 2", limit=7)
show(figure, "3_relu_and_pooling")
print("where each maximum came from (row * width + column):", argmax.ravel())

# %% [markdown]
# ## 4. Backward: who is to blame?
#
# Training asks: if the loss went wrong by this much, how much did every number before it
# contribute? We are handed `dy`, the gradient of the loss for each *output* of a layer: "if this
# output grew by a little, the loss would grow `dy` times as much". `backward` turns it into
# gradients for the layer's *inputs* (`dx`, handed on to the layer before) and for its *weights*
# (which the optimizer uses).
#
# For pooling the answer is easy. Only the winner of a window had any influence, so it gets all of
# `dy`, the others get 0. For ReLU it is easy, too: where it answered 0, nothing passes. So the window
# at the upper right, which had no positive number, learns nothing from this picture.

# %%
dy = np.array([[10, 20], [30, 40]], np.float32)
dx = fc.ops.max_pool2d_backward(dy.reshape(1, 2, 2, 1), argmax, input_shape=(1, 4, 4, 1))[0, :, :, 0]
dx_before_relu = fc.ops.relu_backward(dx, positive)
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), layout="constrained")
draw_numbers(axes[0], dy, "dy, for the pooled numbers", limit=40)
draw_numbers(axes[1], dx, "max pooling backward: dx", limit=40)
draw_numbers(axes[2], dx_before_relu, "and through ReLU", limit=40)
show(figure, "4_pooling_backward")

# %% [markdown]
# For convolution, take one output pixel. It is `patch * kernel` summed up. So if that pixel should
# change by 1, then
#
# - its gradient for the *patch* is the kernel: `backward_data` stamps the kernel at that place,
# - its gradient for the *kernel* is the patch: `backward_weights` cuts the patch out of the input.
#
# With many output pixels the stamps and the patches are weighted with `dy` and added up. That is
# all of it.

# %%
kernel = filters["vertical edges"].reshape(3, 3, 1, 1)
dy = np.zeros((1, 26, 26, 1), np.float32)
dy[0, 12, 18, 0] = 1
dx = fc.ops.conv2d_backward_data(dy, kernel, input_shape=(1, 28, 28, 1))
dkernel, dbias = fc.ops.conv2d_backward_weights(seven[np.newaxis], dy, kernel_size=3)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained")
draw_numbers(axes[0], dy[0, 9:18, 15:24, 0], "dy: one pixel is 1", limit=1)
draw_numbers(axes[1], dx[0, 9:18, 15:24, 0], "dx: the kernel, stamped there", limit=1)
draw_numbers(axes[2], dkernel[:, :, 0, 0], "dkernel", form="{:.2f}", limit=1)
draw_numbers(axes[3], seven[12:15, 18:21, 0], "the patch of the picture", form="{:.2f}", limit=1)
show(figure, "5_convolution_backward")
np.testing.assert_array_equal(dkernel[:, :, 0, 0], seven[12:15, 18:21, 0])

# %% [markdown]
# Do not believe it; measure it. Change one weight by a little and see how the loss changes. Here
# the loss is the sum of `answer * dy` for some random `dy`, so that `dy` is its gradient. In
# float64, because the difference is tiny.

# %%
rng = np.random.default_rng(0)
image, kernel = rng.normal(size=(1, 9, 8, 2)), rng.normal(size=(3, 3, 2, 4))
dy = rng.normal(size=(1, 7, 6, 4))
dkernel, _ = fc.ops.conv2d_backward_weights(image, dy, kernel_size=3)
epsilon = 1e-6
more, less = kernel.copy(), kernel.copy()
more[1, 2, 0, 3] += epsilon
less[1, 2, 0, 3] -= epsilon
measured = ((fc.ops.conv2d(image, more) - fc.ops.conv2d(image, less)) * dy).sum() / (2 * epsilon)
print(f"backward says {dkernel[1, 2, 0, 3]:.8f}, measured {measured:.8f}")
np.testing.assert_allclose(dkernel[1, 2, 0, 3], measured, rtol=1e-6)

# %% [markdown]
# ## 5. LeNet
#
# Now stack the pieces. Two rounds of convolution, ReLU and pooling find strokes, then combinations
# of strokes; three dense layers decide what they mean; softmax turns ten scores into probabilities.
#
# Count the weights of the first convolution yourself: 6 filters of 5 x 5 x 1 weights, and a bias
# for each: `6 * 25 + 6 = 156`. Then look at where most of the weights are.

# %%
model = fc.Sequential(name="lenet")
model.add(layers.Conv2D(6, kernel_size=5, padding="same", activation="relu", input_shape=(28, 28, 1), name="strokes"))
model.add(layers.MaxPool2D(2))
model.add(layers.Conv2D(16, kernel_size=5, activation="relu", name="shapes"))
model.add(layers.MaxPool2D(2))
model.add(layers.Flatten())
model.add(layers.Dense(120, activation="relu"))
model.add(layers.Dense(84, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))
model.summary()

# %% [markdown]
# A layer's `forward` returns its output *and* a cache: what `backward` will need. The cache is
# handed to you, not hidden in the layer, so you can see all of it.

# %%
strokes = model.get_layer("strokes")
y, cache = strokes.forward(x_train[:32])
dx = strokes.backward(np.ones_like(y), cache)
print("forward:", x_train[:32].shape, "->", y.shape, "  backward:", y.shape, "->", dx.shape)
for parameter in strokes.parameters:
    print(f"gradient of {parameter.name}: {parameter.grad.shape}")
    parameter.zero_grad()

# %% [markdown]
# ## 6. Training, once by hand
#
# One step of *stochastic gradient descent* on 64 digits: forward, loss, backward, and a small step
# downhill for every weight. The loss is the cross-entropy, minus the logarithm of the probability
# given to the right answer. Guessing among ten digits costs `log(10) = 2.30`, and that is where an
# untrained network starts.

# %%
batch, labels = x_train[:64], y_train[:64]
for step in range(5):
    probabilities, caches = model.forward(batch, training=True)
    loss = -np.log(probabilities[np.arange(64), labels]).mean()
    dy = np.zeros_like(probabilities)
    dy[np.arange(64), labels] = -1 / (64 * probabilities[np.arange(64), labels])
    for parameter in model.trainable_weights:
        parameter.zero_grad()
    model.backward(dy, caches)
    for parameter in model.trainable_weights:
        parameter.assign(parameter.value - 0.1 * parameter.grad)
    print(f"step {step}: loss {loss:.3f}")

# %% [markdown]
# `compile` and `fit` do just that, in a loop over all digits, with a better rule for the size of
# the steps (Adam), and with softmax and cross-entropy computed together so that no logarithm of 0
# can happen.

# %%
untrained = strokes.kernel.numpy()
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=32, epochs=10, validation_data=(x_test, y_test))
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy: {accuracy:.4f}")
show(visualization.plot_history(history), "6_curves")

# %% [markdown]
# The training curve goes on improving when the other one has stopped: the network begins to learn
# the 5,000 digits by heart. More digits, or some of the exercises below, help against that.
#
# ## 7. Looking inside
#
# The first filters, before and after. Red and blue areas side by side are detectors of edges and
# strokes, at the angle of the border between them. Nobody told the network to look for edges.

# %%
show(visualization.plot_filters(untrained), "7_filters_before")

# %%
show(visualization.plot_filters(strokes), "8_filters_after")

# %% [markdown]
# What every layer answers to our seven. The pictures get smaller and stranger: early maps still
# look like the digit, later ones say "there is such a stroke, about here".

# %%
show(visualization.plot_feature_maps(model, seven), "9_feature_maps")

# %% [markdown]
# `backward` has a use after training, too: its `dx` says which pixels matter for an answer. Red:
# more ink here would speak for the seven. Blue: against it.

# %%
probabilities, caches = model.forward(seven[np.newaxis])
dy = np.zeros_like(probabilities)
dy[0, 7] = 1 / probabilities[0, 7]  # the gradient of log(probability of a seven)
dx = model.backward(dy, caches)
limit = np.abs(dx).max()
figure, ax = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
ax.imshow(dx[0, :, :, 0], cmap="RdBu_r", vmin=-limit, vmax=limit)
ax.contour(seven[:, :, 0], levels=[0.5], colors="black", linewidths=1)
ax.set(title=f"what makes it a seven ({probabilities[0, 7]:.1%})", xticks=[], yticks=[])
show(figure, "10_saliency")

# %% [markdown]
# And where it is wrong. Would you have read all of them right?

# %%
predictions = model.predict(x_test, verbose=0)
show(visualization.plot_predictions(x_test, y_test, predictions, only_wrong=True, max_images=20), "11_wrong")

# %%
show(visualization.plot_confusion_matrix(y_test, predictions), "12_confusion")

# %% [markdown]
# ## 8. A layer of your own
#
# A layer is a class with `forward` and `backward`, and `build` if it has weights. This one is
# *Swish* (Ramachandran, Zoph and Le, 2017): `x * sigmoid(b * x)`, a soft ReLU, here with one
# learned `b` per channel. Derive its gradients on paper: with `s = sigmoid(b * x)`, `dx = dy * (s +
# b * x * s * (1 - s))` and `db = sum(dy * x * x * s * (1 - s))`.


# %%
class Swish(layers.Layer):
    """x * sigmoid(b * x) with a learned b per channel."""

    def build(self, input_shape):
        """One b per channel, 1 at the start."""
        self.b = self.add_weight("b", (input_shape[-1],), initializer="ones")

    def forward(self, x, training=False):
        """Output, and what backward needs."""
        s = fc.ops.sigmoid(x * self.b.value)
        return x * s, (x, s)

    def backward(self, dy, cache):
        """Gradient for x; that of b goes to the parameter."""
        x, s = cache
        slope = s * (1 - s)
        self.b.add_grad((dy * x * x * slope).sum(axis=tuple(range(x.ndim - 1))))
        return dy * (s + self.b.value * x * slope)


report = fc.testing.gradcheck(Swish(), input_shape=(5, 4, 3))
print(report)

# %% [markdown]
# `gradcheck` did what we did by hand in part 4, for the input and for every parameter. It finds
# mistakes, too. Here somebody forgot a factor:


# %%
class WrongSwish(Swish):
    """Swish with a mistake in the gradient of b."""

    def backward(self, dy, cache):
        """The factor x is there once, not twice."""
        x, s = cache
        slope = s * (1 - s)
        self.b.add_grad((dy * x * slope).sum(axis=tuple(range(x.ndim - 1))))
        return dy * (s + self.b.value * x * slope)


wrong_report = fc.testing.gradcheck(WrongSwish(), input_shape=(5, 4, 3))
print(wrong_report)

# %% [markdown]
# The right one is a layer like any other:

# %%
swish_model = fc.Sequential()
swish_model.add(layers.Conv2D(6, 5, padding="same", input_shape=(28, 28, 1)))
swish_model.add(Swish())
swish_model.add(layers.MaxPool2D(2))
swish_model.add(layers.Flatten())
swish_model.add(layers.Dense(10, activation="softmax"))
swish_model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
swish_model.fit(x_train, y_train, epochs=2)
print("learned b:", np.round(swish_model.layers[1].b.value, 3))

# %% [markdown]
# ## Exercises
#
# 1. Write a filter that answers to strokes from the lower left to the upper right, and one for
#    corners. Draw their answers to some digits.
# 2. Compute on paper the output sizes and weights of: 32 x 32 x 3, ten 5 x 5 filters, padding 2;
#    227 x 227 x 3, 96 filters of 11 x 11, stride 4. Check them with `layers.Conv2D` and
#    `count_params`.
# 3. Replace max pooling by average pooling (`layers.AvgPool2D`), and ReLU by `tanh` as in 1998.
#    What do accuracy and the first filters do? How does the gradient of average pooling differ from
#    the picture in part 4?
# 4. Remove the two convolutions and keep the dense layers. How many weights are there now, and how
#    good is it?
# 5. Add `layers.Dropout(0.25)` after the first dense layer, or train for 20 epochs. Watch both
#    curves.
# 6. Shift the training digits by up to two pixels in every direction and train with five times the
#    data. Is it better than 5 times the epochs?
# 7. Write `backward` of `convolve_by_hand` with two loops: stamps for `dx`, patches for `dkernel`.
#    Compare it with `fc.ops.conv2d_backward_data` and `fc.ops.conv2d_backward_weights`.
# 8. Write a layer `Absolute` (`|x|`) and check it with `gradcheck`. What is its gradient at 0?
