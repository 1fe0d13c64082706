# %% [markdown]
# # How fast can a convolution be?
#
# A convolution is a page of arithmetic that everybody agrees on. How long it takes is another
# matter: the last program in this tutorial computes the same numbers as the first, on the same
# computer, tens of thousands of times as fast. We climb from one to the other in seven rungs. Each
# rung is a few lines of code, is checked against the rung before, and is timed while you watch.
#
# Run this file as a script (`python tutorials/02_how_fast.py`; the pictures go to
# `tutorial_output/`) or cell by cell in an editor that knows `# %%`. It takes half a minute. Close
# what else is busy on your computer: we measure time.

# %%
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import fastconv as fc
from fastconv.bench import machine

OUTPUT = Path("tutorial_output")
OUTPUT.mkdir(exist_ok=True)
PIXELS = int(os.environ.get("TUTORIAL_PIXELS", "56"))  # a smaller number makes everything quicker


def show(figure, name):
    """Save a picture; a notebook also draws it, because it is the last value of a cell."""
    figure.savefig(OUTPUT / f"{name}.png", dpi=110)
    plt.close(figure)
    return figure


# %% [markdown]
# ## The task, and how to count it
#
# A layer from the middle of a ResNet or VGG: 3 x 3 filters, stride 1, 128 channels in, 128 out. To
# keep the code short there is no padding: an input of 58 x 58 pixels gives 56 x 56.
#
# Each output number is a sum of 3 * 3 * 128 products. A multiplication and an addition are two
# floating-point operations (FLOP), so we know what has to be done before we know how. Dividing by
# the time gives GFLOP/s, billions of operations a second, and lets us compare a small problem that
# Python can finish with a large one that it cannot.


# %%
def problem(batch, pixels, channels, seed=0):
    """x (N, H, W, C) and kernel (3, 3, C, C) of a 3 x 3 convolution with pixels x pixels outputs."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, pixels + 2, pixels + 2, channels), dtype=np.float32)
    return x, rng.standard_normal((3, 3, channels, channels), dtype=np.float32) / np.sqrt(
        9 * channels, dtype=np.float32
    )


def flop(x, kernel):
    """Two for each product of a pixel and a weight."""
    outputs = x.shape[0] * (x.shape[1] - 2) * (x.shape[2] - 2) * kernel.shape[3]
    return 2 * outputs * kernel[..., 0].size


def seconds(function, *arguments):
    """The best of several runs, after one that warms up: whatever disturbs, only makes it slower."""
    function(*arguments)
    taken, started = [], time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - started < 0.5:
        before = time.perf_counter()
        function(*arguments)
        taken.append(time.perf_counter() - before)
    return min(taken)


large, medium, small = problem(4, PIXELS, 128), problem(1, PIXELS, 32), problem(1, 6, 6)
print(f"the layer: {large[0].shape} with {large[1].shape}, {flop(*large) / 1e9:.2f} GFLOP")

# %% [markdown]
# ## The ceiling
#
# What can this computer do at most? A core has *vector registers*: 4, 8 or 16 numbers side by side.
# One instruction (a *fused multiply-add*, FMA) multiplies two vectors and adds the product to a
# third. A modern core starts two of these in every cycle: with 16 numbers and 2.5 billion cycles a
# second that is 2 x 16 x 2 x 2.5 = 160 GFLOP/s for each core. `machine.Peak` runs nothing else for
# a moment and counts.
#
# The numbers also have to come from somewhere. Next to each core lie small, fast memories, the
# *caches*: what was used a moment ago is still there. We measure how many bytes a second arrive if
# a program just walks through arrays, small ones that fit a cache and large ones that do not.

# %%
ISA = fc.config.config()["instruction set"]
LANES, REGISTERS = {"avx512": (16, 32), "avx2": (8, 16), "neon": (4, 32)}.get(ISA, (4, 16))
peak = machine.Peak(seconds=0.5)
sizes = [2**power for power in range(14, 29, 2)]
threads = fc.get_num_threads()
fc.set_num_threads(1)  # one core and its caches
speeds = [machine.bandwidth(size, 0.2) for size in sizes]
fc.set_num_threads(threads)
memory = machine.memory_bandwidth()
print(f"{machine.cpu_model()}: {ISA}, {LANES} numbers a vector, {fc.get_num_threads()} threads")
print(f"all threads together: peak {peak.flops / 1e9:.0f} GFLOP/s, memory {memory / 1e9:.0f} GB/s")

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.plot(sizes, np.array(speeds) / 1e9, "o-")
for level in (1, 2, 3):
    size = machine.cache_bytes(level) or 0
    if sizes[0] < size < sizes[-1]:
        ax.axvline(size, color="tab:red", linestyle=":")
        ax.text(size, ax.get_ylim()[1], f"level {level} ", color="tab:red", ha="right", va="top", rotation=90)
ax.set_xscale("log", base=2)
ax.set(
    title="one core: the more data a loop walks through, the slower they come",
    xlabel="bytes",
    ylabel="GB/s",
    ylim=(0, None),
)
show(figure, "1_caches")

# %% [markdown]
# The very left of the picture is low because so short a loop is over before it was worth the call.
# Then the arrays outgrow one cache after the other, and memory is several times slower than the
# first level. A dotted line is the size of a cache.
#
# **Arithmetic intensity.** A FMA on numbers that come from memory, used once, needs at least 4
# bytes. So if we fetch every operand anew, memory lets us do only

# %%
balance = peak.flops / memory
print(f"{memory / 4 * 2 / 1e9:.1f} GFLOP/s. To reach the peak, each byte fetched must be used for {balance:.0f} FLOP.")

# %% [markdown]
# That number, FLOP per byte, is called *arithmetic intensity*. The good news: a convolution uses
# each number often. A pixel meets 9 * 128 weights, a weight meets every pixel.

# %%
touched = sum(array.nbytes for array in large) + flop(*large) // (2 * 9 * 128) * 4
print(f"each number fetched once: {flop(*large) / touched:.0f} FLOP per byte")

# %% [markdown]
# So nothing but clumsiness keeps us from the peak. Let us be clumsy first.

# %%
ladder = []


def climb(name, function, arguments, bytes_moved):
    """Check a rung against the one before, time it on its own problem, and say so."""
    if ladder:
        want = ladder[-1]["function"](*small)
        np.testing.assert_allclose(function(*small), want, rtol=1e-3, atol=1e-4)
    taken = seconds(function, *arguments)
    peak.look(0.2)  # a computer's clock changes: keep the ceiling up to date
    speed = flop(*arguments) / taken
    rung = {"name": name, "function": function, "speed": speed, "intensity": flop(*arguments) / bytes_moved}
    times = f", {speed / ladder[-1]['speed']:.1f} times the rung before" if ladder else ""
    print(f"{len(ladder) + 1}. {name}: {speed / 1e9:.3g} GFLOP/s{times}, {100 * speed / peak.flops:.3g} % of the peak")
    ladder.append(rung)


# %% [markdown]
# ## Rung 1: the definition, in Python


# %%
def python_loops(x, kernel):
    """Seven loops: image, row, column, filter; then kernel row, kernel column, channel."""
    batch, height, width, channels = x.shape
    filters = kernel.shape[3]
    y = np.zeros((batch, height - 2, width - 2, filters), np.float32)
    for n in range(batch):
        for row in range(height - 2):
            for column in range(width - 2):
                for k in range(filters):
                    total = 0.0
                    for i in range(3):
                        for j in range(3):
                            for c in range(channels):
                                total += x[n, row + i, column + j, c] * kernel[i, j, c, k]
                    y[n, row, column, k] = total
    return y


climb("Python loops", python_loops, small, 8 * flop(*small) // 2)
print(f"the large layer would take {flop(*large) / ladder[0]['speed'] / 60:.0f} minutes")

# %% [markdown]
# **What it teaches.** The arithmetic is not the problem. For each product Python looks up what `x`
# and `[]` and `*` mean, makes objects for the numbers and throws them away: about a thousand
# instructions of the processor around one that we wanted.
#
# ## Rung 2: NumPy, whole arrays at a time
#
# Turn the loops inside out: one kernel position and one channel at a time, but for *all* pixels and
# filters at once. NumPy's loops are compiled, and use vectors.


# %%
def numpy_taps(x, kernel):
    """y += pixels * weights for each (kernel row, kernel column, channel)."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height - 2, width - 2, kernel.shape[3]), np.float32)
    for i in range(3):
        for j in range(3):
            for c in range(channels):
                y += x[:, i : i + height - 2, j : j + width - 2, c, np.newaxis] * kernel[i, j, c]
    return y


# Each product: written and read again as a temporary array; y read and written.
climb("NumPy, tap by tap", numpy_taps, medium, 16 * flop(*medium) // 2)

# %% [markdown]
# **What it teaches.** Much better, and still far below the ceiling. Every `+=` walks through all of
# `y`, and through a temporary array of the same size, for one multiplication and one addition per
# element: four times 4 bytes for two FLOP. Its arithmetic intensity is 1/8, so it can only be as
# fast as the bytes come, from whichever cache holds the arrays. Vectors do not help a loop that
# waits for data. The cure is to do *more with each number while it is near*.
#
# ## Rung 3: a convolution is a matrix product
#
# Write each 3 x 3 x C window as a row of a matrix, the filters as columns of another: the
# convolution is their product. This is *im2col*. Matrix products are what numerical libraries have
# been polished on for forty years; NumPy calls one (a *BLAS*).


# %%
def numpy_im2col(x, kernel):
    """Windows (N * OH * OW, 9 * C) @ filters (9 * C, K)."""
    windows = sliding_window_view(x, (3, 3), axis=(1, 2))  # (N, OH, OW, C, 3, 3), a view
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[3])  # a copy
    y = columns @ kernel.reshape(-1, kernel.shape[3])
    return y.reshape(x.shape[0], x.shape[1] - 2, x.shape[2] - 2, -1)


columns_bytes = 9 * large[0][:, 2:, 2:].nbytes
climb("NumPy im2col and matmul", numpy_im2col, large, touched + 2 * columns_bytes)
print(f"the matrix of windows: {columns_bytes / 1e6:.0f} MB, for an input of {large[0].nbytes / 1e6:.0f} MB")

# %% [markdown]
# **What it teaches.** A good algorithm in a slow language beats a bad one in a fast language. But
# every pixel was copied nine times, and that copy goes to memory and back.
#
# ## Rung 4: the loops again, in C
#
# What would the definition do if the language were fast? This is the core of
# `csrc/kernels/conv/direct/naive.c`; the compiler turns the innermost loop into vector instructions:
#
# ```c
# for (kh = 0; kh < KH; kh++)
#   for (kw = 0; kw < KW; kw++)
#     for (c = 0; c < C; c++)
#       for (k = 0; k < K; k++)
#         y[k] += x[h + kh][w + kw][c] * filter[kh][kw][c][k];
# ```


# %%
def c_loops(x, kernel):
    """fastconv's kernel that reads like the definition."""
    return fc.ops.conv2d(x, kernel, algorithm="naive")


climb("fastconv, naive C", c_loops, large, touched)

# %% [markdown]
# **What it teaches.** The same loops as in Python, a thousand times faster and more, and yet slower
# than rung 3: compiled is not the same as fast. Look at the innermost line: for one FMA it loads a
# vector of weights, loads a vector of `y` and stores it again. A core can do two FMAs in a cycle,
# but only two loads and one store, and all 590 kB of weights pass by for every single pixel. The
# data are near now, in the caches, but each number still works only once between two trips.
#
# ## Rung 5: a tile of outputs that stays in registers
#
# The registers are the nearest place of all. Keep a *tile* of outputs there, say 14 pixels x 2
# vectors of filters, and let it stay until its sums are complete. One step of the inner loop then
# loads 2 vectors of weights and 14 pixel values, and does 28 FMAs with them (`csrc/kernels/base/tile.c`):
#
# ```c
# for (k = 0; k < depth; k++)
#   for (i = 0; i < 14; i++)         /* unrolled: no loop is left in the machine code */
#     for (j = 0; j < 2; j++)
#       sum[i][j] += splat(a[i][k]) * b[k][j];
# ```
#
# How should the tile be cut? A tile of m x v needs m * v registers for its sums and v for the
# weights, one more for the pixel. It does m * v FMAs for m + v loads. A core that starts two FMAs in
# a cycle also starts two loads, so the loads cost nothing if the FMAs are at least as many.

# %%
heights, widths = range(1, 29), range(1, 5)
fmas_per_load = np.array([[m * v / (m + v) if m * v + v < REGISTERS else np.nan for m in heights] for v in widths])
figure, ax = plt.subplots(figsize=(11, 2.6), layout="constrained")
ax.imshow(fmas_per_load, cmap="YlGn", aspect="auto")
for (v, m), value in np.ndenumerate(fmas_per_load):
    if np.isfinite(value):
        ax.text(m, v, f"{value:.1f}", ha="center", va="center", fontsize=8)
ax.set(title=f"FMAs per load, by tile; empty: more than the {REGISTERS} registers of {ISA}", xlabel="pixels")
ax.set(ylabel="vectors of filters", xticks=range(len(heights)), xticklabels=heights)
ax.set(yticks=range(len(widths)), yticklabels=widths)
show(figure, "2_tiles")

# %% [markdown]
# Flat is bad, square is good, and the number of registers is the limit. Two more rules: an FMA takes
# four cycles and two start in each, so at least eight independent sums must be under way; and a tile
# as wide as the number of filters can be divided by wastes nothing at the edge. 14 x 2 (for AVX-512;
# 6 x 2 with half the registers) follows all of them: nearly every register holds a sum.
#
# The caches want their share, too. The weights are *packed*: copied once into the exact order in
# which the tile will read them, so that the processor can fetch ahead. And the work goes in blocks,
# so that what is used again is still in the cache. That is all a BLAS does; ours is
# `csrc/kernels/base/gemm.c`.


# %%
def our_im2col(x, kernel):
    """Rung 3 with both halves from fastconv."""
    columns = fc.ops.im2col(x, 3)
    y = fc.ops.matmul(columns, kernel.reshape(-1, kernel.shape[3]))
    return y.reshape(x.shape[0], x.shape[1] - 2, x.shape[2] - 2, -1)


climb("fastconv im2col and GEMM", our_im2col, large, touched + 2 * columns_bytes)
product_only = seconds(fc.ops.matmul, fc.ops.im2col(large[0], 3), large[1].reshape(-1, 128))
print(f"   the product alone: {flop(*large) / product_only / 1e9:.3g} GFLOP/s; the rest is im2col's copying")

# %% [markdown]
# **What it teaches.** Registers first, then caches, then memory: each level is fed by the one below
# it, and each number fetched is used many times before it goes.
#
# ## Rung 6: do not build the matrix
#
# The tile reads 14 rows of the matrix of windows. But each row is 3 x 3 pieces of the image, and in
# our layout, `(N, H, W, C)`, a piece is contiguous: C numbers of one pixel. So give the tile 14
# *pointers* into the image for each of the nine kernel positions, and it never notices that there
# is no matrix. This is *implicit GEMM* (`csrc/kernels/conv/direct/implicit_gemm.c`).


# %%
def implicit(x, kernel):
    """The same tile, reading the image where it lies."""
    return fc.ops.conv2d(x, kernel, algorithm="implicit_gemm")


climb("fastconv, implicit GEMM", implicit, large, touched)

# %% [markdown]
# **What it teaches.** The fastest copy is the one that is not made. If the computer is not busy with
# other things, this is close to the ceiling: no arrangement of the same multiplications can be much
# faster. Unless...
#
# ## Rung 7: fewer multiplications
#
# Take three weights g and four neighbouring pixels d. Two outputs of a 1-D convolution need six
# multiplications, as anybody can see. In 1980 Shmuel Winograd could see four:


# %%
def two_outputs(d, g):
    """[d0 g0 + d1 g1 + d2 g2, d1 g0 + d2 g1 + d3 g2] with four products."""
    m0 = (d[0] - d[2]) * g[0]
    m1 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
    m2 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
    m3 = (d[1] - d[3]) * g[2]
    return np.array([m0 + m1 + m2, m1 - m2 - m3])


d, g = np.array([3.0, 1.0, 4.0, 1.0]), np.array([2.0, 7.0, 1.0])
print("four products:", two_outputs(d, g), " six products:", np.correlate(d, g))
np.testing.assert_allclose(two_outputs(d, g), np.correlate(d, g))

# %% [markdown]
# The sums of weights are made once, the sums of pixels are shared by all filters, so with many
# channels only the four products count. In two dimensions the trick is applied to rows and columns:
# 2 x 2 outputs cost 16 products and not 36, and in the larger form that fastconv uses, 4 x 4
# outputs cost 36 and not 144: four times fewer.


# %%
def winograd(x, kernel):
    """F(4 x 4, 3 x 3): A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2016)."""
    return fc.ops.conv2d(x, kernel, algorithm="winograd")


climb("fastconv, Winograd", winograd, large, touched)

# %% [markdown]
# **What it teaches.** We still count the FLOP of the definition, so this may be *more* than the
# peak; the processor did not break its limit, it had less to do. A better algorithm beats a better
# implementation, once you have one.
#
# Nothing is free: the transforms add numbers of different size, and digits get lost. We compare each
# way with the same convolution in float64, which has twice as many digits.

# %%
exact = fc.ops.conv2d(*(array.astype(np.float64) for array in large))
errors = {}
for name in ("naive", "im2col", "implicit_gemm", "winograd_2x2", "winograd", "winograd_6x6"):

    def run(x, kernel, name=name):
        return fc.ops.conv2d(x, kernel, algorithm=name)

    errors[name] = np.linalg.norm(run(*large) - exact) / np.linalg.norm(exact)
    print(f"{name:>13}: relative error {errors[name]:.1e}, {flop(*large) / seconds(run, *large) / 1e9:4.0f} GFLOP/s")

figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
ax.barh(list(errors), list(errors.values()), color="tab:orange")
ax.axvline(2.0**-24, color="tab:red", linestyle=":")
ax.text(2.0**-24 * 1.05, -0.55, "the rounding of one float32", color="tab:red", fontsize=8, va="center")
ax.set(xscale="log", title="relative distance from the result in float64", xlim=(3e-8, 1e-5), ylim=(-0.8, None))
ax.invert_yaxis()
show(figure, "3_errors")

# %% [markdown]
# A few parts in a million: far below what a network notices (its own weights are known to perhaps
# three digits). Yet it is a choice, so fastconv lets you make it: `algorithm="auto"` takes Winograd
# where it is faster, `fc.set_conv2d_accuracy("exact")` keeps `auto` away from it.
#
# ## The whole ladder

# %%
speeds = np.array([rung["speed"] for rung in ladder]) / 1e9
figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
bars = ax.barh([f"{i}. {rung['name']}" for i, rung in enumerate(ladder, 1)], speeds, color="tab:blue")
ax.bar_label(bars, [f" {speed:.3g}" for speed in speeds])
ax.axvline(peak.flops / 1e9, color="tab:red", linestyle=":")
ax.annotate("peak", (peak.flops / 1e9, 1.01), xycoords=("data", "axes fraction"), color="tab:red", ha="center")
ax.set(xscale="log", xlabel="GFLOP/s, counted by the definition (from one mark to the next: ten times as fast)")
ax.set_xlim(speeds[0] / 3, 8 * max(speeds.max(), peak.flops / 1e9))
ax.invert_yaxis()
show(figure, "4_ladder")
print(f"from the first rung to the last: {speeds[-1] / speeds[0]:,.0f} times as fast")

# %% [markdown]
# ## The roofline
#
# One picture for all of it (S. Williams, A. Waterman, D. Patterson, 2009). To the right: how much
# work a program does with each byte from memory. Up: how fast it is. The roof is what the machine
# allows: on the left memory is the limit, on the right the arithmetic. A program under the sloping
# part should move fewer bytes; one under the flat part, but far below it, wastes instructions.

# %%
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
intensity = np.logspace(-1.5, 3.5, 200)
ax.plot(intensity, np.minimum(peak.flops, intensity * memory) / 1e9, color="tab:red")
ax.text(intensity[-1], peak.flops / 1e9 * 1.15, f"{peak.flops / 1e9:.0f} GFLOP/s", color="tab:red", ha="right")
ax.text(0.05, 0.1 * memory / 1e9, f"{memory / 1e9:.0f} GB/s", color="tab:red")
for i, rung in enumerate(ladder, 1):
    place = rung["intensity"], rung["speed"] / 1e9
    ax.plot(*place, "o", markersize=14, label=f"{i}. {rung['name']}")
    ax.annotate(str(i), place, ha="center", va="center", color="white", fontsize=9)
ax.legend(loc="lower right", markerscale=0.5)
ax.set(xscale="log", yscale="log", xlabel="FLOP per byte fetched or written", ylabel="GFLOP/s")
ax.set(title="the roofline of this machine, and our seven programs", xlim=(intensity[0], intensity[-1]))
show(figure, "5_roofline")

# %% [markdown]
# Rung 1 sits far below the roof: it wastes instructions. Rung 2 is near the slope, or even above it
# as its arrays fit a cache (for these two we counted every byte they ask for): bytes are its limit.
# Rungs 3 and 5 moved to the right, rung 6 further still, and up to the roof. Rung 4 is as far to the
# right, for its bytes come from caches, but its instructions are mostly loads. Rung 7 may look out
# through the roof: we draw it at the FLOP of the definition, of which it does only a part.
#
# ## Exercises
#
# 1. Reorder the loops of `python_loops` so that the channel is the outermost. Does it matter? Why
#    would it matter in C?
# 2. Replace the two inner loops of rung 2 by `x[...] @ kernel[i, j]` (nine products of matrices).
#    On which rung does it land, and what is its arithmetic intensity?
# 3. Run with `FASTCONV_NUM_THREADS=1`, then with all your cores. Which rungs get faster, which do
#    not, and what does the picture of the caches say about it?
# 4. Run with `FASTCONV_ISA=baseline` (and `avx2`, if your processor has more). How large is the
#    step from rung 4 to rung 5 now? Compare the picture of the tiles.
# 5. Change the layer: 8 channels, 1024 channels, `TUTORIAL_PIXELS=7`. Where does Winograd stop
#    being faster than implicit GEMM? (The transforms cost as much for one filter as for a thousand.)
# 6. Write the transforms of `two_outputs` as three matrices, and from them F(2 x 2, 3 x 3) for one
#    channel in NumPy. Register it with `fc.ops.register_conv2d` and check it against `naive`.
# 7. Read `csrc/kernels/base/tile.c`. Set `FC_MR2` in `csrc/isa/` to 4, build, and measure rung 6 again.
# 8. `fastconv bench conv --net vgg16` measures the layers of a network beside PyTorch, and
#    `fastconv bench roofline` draws them. Which layer has the lowest share of the peak, and why?
