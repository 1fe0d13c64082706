"""The picture of a graph: what is written, and a layout without collisions, by `dot` and by our own algorithm."""

import itertools
import os
import re
import shutil
import sys

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import fastconv as fc
from fastconv import layers, visualization
from fastconv.visualization import _layout


def block(x, name):
    y = layers.Conv2D(4, 3, padding="same", name=f"{name}_conv")(x)
    return layers.Add(name=f"{name}_sum")([x, layers.ReLU(name=f"{name}_relu")(y)])


def model_of(blocks=2):
    x = y = fc.Input((8, 6, 4), name="picture")
    for i in range(blocks):
        y = block(y, f"block{i}")
    pool = fc.Sequential([layers.Input((8, 6, 4)), layers.MaxPool2D(2), layers.Flatten()], name="pool")
    return fc.Model(x, layers.Dense(3, name="scores")(pool(y)), name="network")


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


@pytest.fixture(params=["layered", "dot"])
def layout(request, tmp_path):
    if request.param == "dot" and shutil.which("dot") is None:
        pytest.skip("needs Graphviz' program dot on the path")
    return request.param


def test_names_types_and_shapes_are_written(layout):
    figure = visualization.plot_model(model_of(1), layout=layout)
    assert sorted(texts(figure)) == sorted(
        ["picture", "InputLayer  8 × 6 × 4", "block0_conv", "Conv2D  8 × 6 × 4", "block0_relu", "ReLU  8 × 6 × 4",
         "block0_sum", "Add  8 × 6 × 4", "pool", "Sequential  48", "scores", "Dense  3"]
    )  # fmt: skip
    assert figure.get_suptitle() == "network: 6 layers, 295 parameters"
    arrows = [patch for ax in figure.axes for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 6
    plain = visualization.plot_model(model_of(1), show_shapes=False, show_types=False, layout=layout)
    assert sorted(texts(plain)) == ["block0_conv", "block0_relu", "block0_sum", "picture", "pool", "scores"]


def test_nested_models_are_opened_if_asked(layout):
    words = texts(visualization.plot_model(model_of(1), expand_nested=True, layout=layout))
    assert "pool/max_pooling2d" in words
    assert "pool" not in words
    assert "Flatten  48" in words


def test_sizes_that_are_not_known():
    model = fc.Sequential([layers.Input((None, None, 3)), layers.Conv2D(2, 3)])
    assert "Conv2D  ? × ? × 2" in texts(visualization.plot_model(model, layout="layered"))


def test_several_inputs_outputs_and_shared_layers():
    a, b = fc.Input((4,), name="a"), fc.Input((4,), name="b")
    shared = layers.Dense(3, name="shared")
    model = fc.Model([a, b], [shared(a), layers.Add(name="sum")([shared(b), shared(a)])])
    words = texts(visualization.plot_model(model, show_shapes=False, show_types=False, layout="layered"))
    assert sorted(words) == ["a", "b", "shared", "shared", "shared", "sum"]


def boxes_of(figure):
    for ax in figure.axes:
        yield ax, [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]


def test_a_tall_graph_is_folded_into_columns(layout):
    figure = visualization.plot_model(model_of(40), layout=layout)
    assert len(figure.axes) > 1
    width, height = figure.get_size_inches()
    assert 0.6 < width / height < 3
    names = {text for text in texts(figure) if "  " not in text}
    assert names == {layer.name for layer in model_of(40).layers}
    for ax, boxes in boxes_of(figure):  # each box whole, in one column, at its natural size
        low, high = sorted(ax.get_ylim())
        left, right = ax.get_xlim()
        assert boxes
        for box in boxes:
            assert low - 0.02 <= box.get_y() <= box.get_y() + box.get_height() <= high + 0.02
            assert left - 0.02 <= box.get_x() <= box.get_x() + box.get_width() <= right + 0.02  # dot rounds
        extent = ax.get_position()
        assert extent.height * height == pytest.approx(high - low)
        assert extent.width * width == pytest.approx(right - left)
    corners = [ax.get_position() for ax in figure.axes]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(corners))


def test_letters_fit_into_their_boxes():
    figure = visualization.plot_model(model_of(3), layout="layered")
    figure.draw_without_rendering()
    for ax, boxes in boxes_of(figure):
        extents = [box.get_window_extent() for box in boxes]
        for text in ax.texts:
            inner = text.get_window_extent()
            assert any(e.x0 < inner.x0 and inner.x1 < e.x1 and e.y0 < inner.y0 and inner.y1 < e.y1 for e in extents)


def test_a_figure_that_is_too_large_is_scaled():
    large = visualization.plot_model(model_of(12), layout="layered")
    small = visualization.plot_model(model_of(12), layout="layered", max_inches=5)
    assert max(small.get_size_inches()) == pytest.approx(5)
    factor = small.axes[0].texts[0].get_fontsize() / large.axes[0].texts[0].get_fontsize()
    assert factor == pytest.approx(5 / max(large.get_size_inches()))


def test_arguments():
    with pytest.raises(ValueError, match="layout must be 'auto', 'dot' or 'layered', got 'tree'"):
        visualization.plot_model(model_of(), layout="tree")
    with pytest.raises(ValueError, match="max_inches must be above 0, got 0"):
        visualization.plot_model(model_of(), max_inches=0)


# ---- the layered layout ----


def random_graph(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 30))
    edges = [(int(rng.integers(max(0, i - 8), i)), i) for i in range(1, count)]
    edges += [tuple(sorted(rng.choice(count, 2, replace=False).tolist())) for _ in range(count // 2)]
    sizes = [(float(w), 0.4) for w in rng.uniform(0.5, 3, count)]
    return sizes, [(int(a), int(b)) for a, b in edges]


def bezier(points, steps=12):
    for a, b, c, d in zip(points[::3], points[1::3], points[2::3], points[3::3], strict=False):
        for t in np.linspace(0, 1, steps):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            yield np.dot(weights, [a, b, c, d])


@pytest.mark.parametrize("seed", range(25))
def test_layered_boxes_and_arrows_do_not_collide(seed):
    sizes, edges = random_graph(seed)
    places = _layout.layered(sizes, edges)
    rectangles = [(x - w / 2, x + w / 2, y - h / 2, y + h / 2)
                  for (x, y), (w, h) in zip(places.centres, sizes, strict=True)]  # fmt: skip
    for (l0, r0, t0, b0), (l1, r1, t1, b1) in itertools.combinations(rectangles, 2):
        assert r0 < l1 or r1 < l0 or b0 < t1 or b1 < t0
    for l0, r0, t0, b0 in rectangles:
        assert l0 >= -1e-9
        assert r0 <= places.width + 1e-9
        assert t0 >= -1e-9
        assert b0 <= places.height + 1e-9
    for (source, target), points in zip(edges, places.arrows, strict=True):
        assert points[0] == pytest.approx((places.centres[source][0], rectangles[source][3]))
        assert points[-1] == pytest.approx((places.centres[target][0], rectangles[target][2]))
        assert points[-1][1] > points[0][1]  # downwards
        for x, y in bezier(points):
            for i, (left, right, top, bottom) in enumerate(rectangles):
                if i not in (source, target):
                    assert not (left < x < right and top < y < bottom)


def test_a_chain_is_a_straight_line():
    places = _layout.layered([(1, 0.4), (2, 0.4), (0.5, 0.4)], [(0, 1), (1, 2)])
    assert [x for x, _ in places.centres] == pytest.approx([1, 1, 1])
    assert [y for _, y in places.centres] == pytest.approx([0.2, 0.84, 1.48])


def test_arrows_that_need_not_cross_do_not():
    """Two chains side by side, listed in turns."""
    places = _layout.layered([(1, 0.4)] * 8, [(0, 2), (1, 3), (2, 5), (3, 4), (5, 6), (4, 7)])
    x = [x for x, _ in places.centres]
    assert (x[0] < x[1]) == (x[2] < x[3]) == (x[5] < x[4]) == (x[6] < x[7])


# ---- dot ----


def fake_dot(folder, monkeypatch, body):
    """A program `dot` of our own that runs `body`, alone on the path."""
    program = folder / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nsource = sys.stdin.read()\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


PLAIN = """graph 1 4 3
node n0 1 2.5 1.5 0.4 n0 solid box black lightgrey
node n1 1 1.5 1.5 0.4 n1 solid box black lightgrey
node n2 2.5 0.5 1.5 0.4 n2 solid box black lightgrey
edge n0 n1 4 1 2.3 1 2.1 1 1.9 1 1.7 solid black
edge n0 n2 4 1.5 2.3 2 2 2.5 1.5 2.5 0.7 solid black
edge n1 n2 4 1 1.3 1.5 1 2 0.9 2.4 0.7 solid black
stop
"""


def test_dot_gets_the_graph_and_its_places_are_drawn(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    fake_dot(tmp_path, monkeypatch, f"open({str(asked)!r}, 'w').write(source)\nprint({PLAIN!r})")
    x = fc.Input((4,), name="x")
    y = layers.Dense(4, name="y")(x)
    figure = visualization.plot_model(fc.Model(x, layers.Add(name="z")([x, y])))  # "auto" finds it
    edges = re.findall(r"^n(\d) -> n(\d);", asked.read_text(), flags=re.MULTILINE)
    assert sorted(edges) == [("0", "1"), ("0", "2"), ("1", "2")]
    (ax,) = figure.axes
    places = {text.get_text(): text.get_position() for text in ax.texts if "  " not in text.get_text()}
    assert places["x"][0] == places["y"][0] == 1
    assert places["z"][0] == 2.5
    assert places["x"][1] < places["y"][1] < places["z"][1]  # dot's y points up, ours down
    arrows = [patch.get_path().vertices for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 3


def test_a_dot_that_fails_is_quoted(tmp_path, monkeypatch):
    fake_dot(tmp_path, monkeypatch, "sys.exit('out of ink')")
    with pytest.raises(RuntimeError, match="failed with code 1: out of ink; use layout='layered'"):
        visualization.plot_model(model_of())
    visualization.plot_model(model_of(), layout="layered")


def test_without_dot(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no program dot on the path: install Graphviz"):
        visualization.plot_model(model_of(), layout="dot")
    assert texts(visualization.plot_model(model_of()))
    assert os.environ["PATH"] == str(tmp_path)
