"""`fastconv bench` from end to end on tiny shapes; nothing is asserted about speed."""

import json
import mmap
import re

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import fastconv as fc
from fastconv import _kernels, cli
from fastconv.bench import conv, layers, machine, networks, ops, peers, plot, report, rows, summary, timing

torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
ROUGH = ("--rounds", "1", "--seconds", "0.0001", "--pause", "0")


@pytest.fixture(autouse=True)
def settings():
    """Threads and instruction set as they were; nothing that takes long to measure."""
    before = fc.get_num_threads(), _kernels.isa(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine.Peak, "__init__", _quick_peak(machine.Peak.__init__))
        patch.setattr(machine, "bandwidth", _quick_bandwidth(machine.bandwidth))
        yield
    fc.set_num_threads(before[0])
    _kernels.select_isa(before[1])
    torch.set_num_threads(before[2])


def _quick_peak(init):
    return lambda self, dtype="float32", seconds=0.0, **options: init(self, dtype, 0.0, **options)


def _quick_bandwidth(measure):
    return lambda nbytes, seconds=0.0: measure(min(nbytes, 1 << 20), 0.001)


def run(*words):
    return cli.main(["bench", *words])


def check_json(path, command):
    document = json.loads(path.read_text())
    assert document["schema"] == report.SCHEMA
    assert document["command"] == command
    about = document["machine"]
    assert {"cpu", "cores", "isa", "threads", "compiler", "versions", "commit", "python"} <= about.keys()
    assert about["isa"] == _kernels.isa()
    assert {"fastconv", "numpy", "torch"} <= about["versions"].keys()
    for row in document["rows"]:
        for contestant in row["contestants"].values():
            assert contestant["median"] == pytest.approx(np.median(contestant["seconds"]))
            assert contestant["rate"] > 0
            assert contestant["page_faults"] >= 0
        best = min(c["median"] for name, c in row["contestants"].items() if name.startswith("torch"))
        assert row["notes"] == []
        assert row["ratio"] == pytest.approx(best / next(iter(row["contestants"].values()))["median"])
    return document


def check_picture(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 200
        assert len(np.unique(np.asarray(image.convert("L")))) > 20  # something is drawn


def words_of(figure):
    """All text of a figure."""
    return " ".join(text.get_text() for text in figure.findobj(match=Text))


def test_conv(tmp_path, capsys):
    json_file, png = tmp_path / "conv.json", tmp_path / "conv.png"
    options = ("--net", "lenet", "--batch", "2", *ROUGH, "--json", str(json_file), "--plot", str(png))
    assert run("conv", "--pass", "all", "--peer", "all", *options) == 0
    printed = capsys.readouterr().out
    assert "2 x 28 x 28 x 1 -> 6, 5x5" in printed
    assert re.search(r"backward: geometric mean of 2: [\d.]+; slowest: [\d.]+ \(lenet conv[12]\)", printed)
    assert f"{fc.get_num_threads()} thread" in printed
    document = check_json(json_file, "conv")
    assert document["fma_peak"] > 1e9
    found = [(row["geometry"]["name"], row["pass"]) for row in document["rows"]]
    assert found == [
        *(("conv1", which) for which in ("forward", "backward_weights", "backward")),  # it reads images
        *(("conv2", which) for which in conv.PASSES),
    ]
    assert document["rows"][0]["amount"] == 2 * 2 * 28 * 28 * 6 * 25
    assert {row["algorithm"] for row in document["rows"]} <= {*fc.ops.conv2d_algorithms(), "winograd, implicit_gemm"}
    assert document["summary"]["forward"]["layers"] == 2
    expected = {"fastconv", "fastconv cached", "torch NCHW", "torch NHWC"}
    expected |= set(peers.installed(["onnxruntime", "openvino"])[0])
    assert document["rows"][0]["contestants"].keys() == expected
    assert document["rows"][3]["contestants"].keys() == expected
    assert document["rows"][4]["contestants"].keys() == {"fastconv", "torch NCHW", "torch NHWC"}
    check_picture(png)


def test_conv_with_everything_chosen(tmp_path, capsys):
    json_file = tmp_path / "conv.json"
    options = ("--isa", "baseline", "--threads", "1", "--dtype", "float64", "--clock", "cpu", *ROUGH)
    choice = ("--layer", "conv2", "--algorithm", "im2col", "naive", "--pass", "forward")
    if "baseline" not in _kernels.available_isas():
        pytest.skip("no baseline on this machine")
    assert run("conv", "--net", "lenet", "--batch", "1", *choice, *options, "--json", str(json_file)) == 0
    assert "baseline, 1 thread, float64" in capsys.readouterr().out
    (row,) = check_json(json_file, "conv")["rows"]
    assert [*row["contestants"]] == ["fastconv im2col", "fastconv naive", "torch NCHW", "torch NHWC"]
    assert torch.get_num_threads() == 1


def test_an_algorithm_that_cannot_serve_a_layer_is_a_note(monkeypatch):
    def refuse(x, kernel, **geometry):
        raise ValueError("only on Sundays")

    monkeypatch.setitem(fc.ops.algorithms.registered, "sunday", fc.ops.algorithms.Algorithm(refuse, None, None))
    layer = networks.find("lenet", "conv2")[0].with_batch(1)
    options = rows.Options((), ("auto", "sunday"), rounds=1, turn=0.0001, pause=0.0)
    (row,) = conv.compare([layer], ["forward"], options)
    assert [*row.samples] == ["fastconv", "fastconv cached"]
    assert row.notes == ["only on Sundays"]
    skipped = []
    assert list(conv.compare([layer], ["forward"], rows.Options((), ("sunday",), rounds=1), None, skipped)) == []
    assert skipped == ["lenet conv2, forward: only on Sundays"]
    assert run("conv", "--net", "lenet", "--batch", "1", "--algorithm", "sunday", "--peer", "none", *ROUGH) == 0


def test_ops(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ops, "LAYERS", {kind: found[:2] for kind, found in ops.LAYERS.items()})
    json_file, png = tmp_path / "ops.json", tmp_path / "ops.png"
    assert run("ops", "--batch", "1", *ROUGH, "--json", str(json_file), "--plot", str(png)) == 0
    printed = capsys.readouterr().out
    assert "WRONG" not in printed
    assert "1 x 55 x 55 x 96, 3x3 / 2" in printed
    document = check_json(json_file, "ops")
    assert len(document["rows"]) == 2 * 4
    assert document["rows"][0]["amount"] == 4 * 28 * 28 * 6 * 5 / 4  # float32: the input, and a quarter of it
    check_picture(png)


def test_net(tmp_path, capsys):
    json_file, png = tmp_path / "net.json", tmp_path / "net.png"
    options = ("--batch", "4", *ROUGH, "--json", str(json_file), "--plot", str(png))
    assert run("net", "--net", "lenet5", "notebook", *options) == 0
    printed = capsys.readouterr().out
    assert "WRONG" not in printed
    assert "faults torch NHWC" in printed
    found = [(row["title"], row["pass"]) for row in check_json(json_file, "net")["rows"]]
    assert found == [(name, which) for name in ("lenet5", "notebook") for which in ("train", "infer")]
    check_picture(png)


def test_memory_of_a_step(tmp_path, capsys):
    json_file = tmp_path / "memory.json"
    options = ("--peer", "none", "--batch", "2", "--json", str(json_file))
    assert run("net", "--net", "lenet5", "--memory", *options) == 0
    assert "peak MB" in capsys.readouterr().out
    figures = json.loads(json_file.read_text())["memory"]["lenet5"]["fastconv"]
    assert 10e6 < figures["imports"] <= figures["peak"] < 2e9


def test_roofline(tmp_path, capsys):
    json_file, png = tmp_path / "roofline.json", tmp_path / "roofline.png"
    assert run("roofline", "--net", "lenet", "--batch", "1", *ROUGH, "--json", str(json_file), "--plot", str(png)) == 0
    assert "attainable" in capsys.readouterr().out
    ceilings = check_json(json_file, "roofline")["ceilings"]
    assert ceilings.keys() == {"peak", "memory", "cache"}
    assert min(ceilings.values()) > 1e8
    check_picture(png)


def test_scaling(tmp_path, capsys):
    before = fc.get_num_threads()
    json_file, png = tmp_path / "scaling.json", tmp_path / "scaling.png"
    options = ("--threads", "2", *ROUGH, "--json", str(json_file), "--plot", str(png))
    assert run("scaling", "--net", "lenet", "--batch", "4", *options) == 0
    assert "torch NHWC x2" in capsys.readouterr().out
    document = json.loads(json_file.read_text())
    assert document["threads"] == [1, 2]
    names = {f"{name} x{count}" for name in ("fastconv", "torch NCHW", "torch NHWC") for count in (1, 2)}
    assert document["rows"][0]["contestants"].keys() == names
    assert (fc.get_num_threads(), torch.get_num_threads()) == (2, 2)
    check_picture(png)
    fc.set_num_threads(before)


def test_summary_is_a_markdown_table(monkeypatch, capsys, tmp_path):
    """Every figure of the README, from two layers of each set."""
    few = {"typical": networks.find("typical")[2:5], "depthwise": networks.find("depthwise")[-2:]}
    monkeypatch.setattr(networks, "find", few.__getitem__)
    monkeypatch.setattr(ops, "LAYERS", {kind: found[:1] for kind, found in ops.LAYERS.items()})
    json_file = tmp_path / "summary.json"
    assert run("summary", "--quick", "--json", str(json_file)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0].count("|") == 5
    text = "\n".join(lines)
    for words in (
        "3 x 3 stride 1",
        "conv1 (11 x 11",
        "slowest",
        "depthwise",
        "max pool",
        "batch norm",
        "epoch",
        "LeNet",
    ):
        assert words in text
    assert all(float(line.split("|")[-2]) >= 0 for line in lines[2:] if "nan" not in line)
    assert json.loads(json_file.read_text())["figures"][0]["ratio"] > 0


def test_summary_refuses_wrong_results():
    row = rows.Measurement("a", "b", "forward", 1.0, "GFLOP/s", {}, notes=["WRONG: y differs"])
    with pytest.raises(rows.DisagreementError, match="y differs"):
        summary._check([row])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("conv", "--net", "alexnett"), "did you mean 'alexnet'"),
        (("conv", "--net", "alexnet", "--layer", "cnv3"), "did you mean 'conv3'"),
        (("conv", "--peer", "torhc"), "did you mean 'torch'"),
        (("ops", "--peer", "openvino"), "there are torch, all, none"),
        (("conv", "--algorithm", "im2cl"), "did you mean 'im2col'"),
        (("conv", "--isa", "avx3"), "unknown instruction set 'avx3'"),
        (("net", "--net", "lenet"), "did you mean 'lenet5'"),
        (("conv", "--threads", "5000"), "5000"),
        (("conv", "--threads", "2", "--clock", "cpu"), "--threads 1"),
        (("conv", "--net", "lenet", "--layer", "conv2", *ROUGH, "--batch", "1", "--plot", "a.docx"), "a.docx"),
    ],
)
def test_mistakes_end_with_a_line_and_code_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_an_isa_that_the_cpu_lacks(capsys, monkeypatch):
    def lacking(name):
        raise RuntimeError(f"this CPU cannot run {name!r}; it can run baseline")

    with monkeypatch.context() as patch:
        patch.setattr(_kernels, "select_isa", lacking)
        assert run("conv", "--isa", "avx512") == 2
    assert "this CPU cannot run 'avx512'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--rounds", "0"), ("--seconds", "-1"), ("--pass", "sideways"), ("--batch", "x")])
def test_bad_numbers_are_usage_errors(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("conv", *words)
    assert stopped.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_peer_that_is_missing_is_named_with_what_installs_it(monkeypatch, capsys):
    find = peers.importlib.util.find_spec
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert peers.installed(["all"])[0] == peers.installed(["torch", "onnxruntime"])[0]
    options = ("--net", "lenet", "--layer", "conv2", "--batch", "1", "--pass", "forward", *ROUGH)
    assert run("conv", "--peer", "openvino", *options) == 0
    captured = capsys.readouterr()
    assert "openvino is not installed; to compare with it: pip install openvino onnx" in captured.err
    assert "openvino" not in captured.out.splitlines()[3]  # the table's head
    assert "geometric mean" not in captured.out


def test_without_torch_the_summary_says_so(monkeypatch, capsys):
    find = peers.importlib.util.find_spec
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    assert run("summary", "--quick") == 2
    assert "pip install torch==2.13.0" in capsys.readouterr().err


def test_a_wrong_peer_is_seen():
    layer = networks.find("lenet", "conv2")[0].with_batch(1)
    problem = peers.Problem.of(layer, "forward")
    everybody = peers.contestants(problem, ["torch"])
    assert rows.disagreements(everybody, 1e-4) == []
    liar = rows.Contestant(lambda: None, lambda _: {"y": problem.dy})
    everybody["liar"] = liar
    (line,) = rows.disagreements({name: everybody[name] for name in ("fastconv", "liar")}, 1e-4)
    assert line.startswith("WRONG: y of liar")
    nothing = rows.Contestant(lambda: None, lambda _: {"y": problem.dy * np.nan})
    assert len(rows.disagreements({"fastconv": everybody["fastconv"], "liar": nothing}, 1e-4)) == 1


@pytest.mark.parametrize("net", ["lenet", "depthwise", "inception_v3"])
@pytest.mark.parametrize("which", conv.PASSES)
def test_peers_compute_the_same(net, which):
    """Layers padded at the bottom and right only, too, which PyTorch cannot express."""
    chosen = {layer.kernel + layer.strides: layer for layer in networks.find(net)}.values()
    small = [layers.dataclasses.replace(layer, size=(9, 11), batch=1) for layer in chosen if layer.kernel[0] < 8]
    for layer in small:
        everybody = peers.contestants(peers.Problem.of(layer, which), peers.installed(["all"])[0])
        assert len(everybody) >= 3
        assert rows.disagreements(everybody, 5e-4) == [], str(layer)


def test_contestants_take_turns():
    log = []
    samples = timing.measure({name: lambda name=name: log.append(name) for name in "ab"}, rounds=2, turn=0.0)
    assert "".join(log) == "abab"
    assert all(len(sample.seconds) == len(sample.faults) == 2 for sample in samples.values())
    log.clear()
    timing.measure({name: lambda name=name: log.append(name) for name in "ab"}, rounds=2, turn=0.0, pause=1e-4)
    assert "".join(log) == "aabb" * 2  # the first of each two wakes the threads
    log.clear()
    timing.measure({name: lambda name=name: log.append(name) for name in "ab"}, rounds=2, turn=1e-4)
    assert re.fullmatch("aabb(a+b+){2}", "".join(log))


def test_page_faults_are_counted():
    pages = 1000

    def touch():
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as fresh:
            fresh[:: mmap.PAGESIZE] = bytes(pages)

    sample = timing.measure({"touch": touch}, rounds=3, turn=0.0)["touch"]
    assert sample.page_faults >= 0.9 * pages / 512  # at least a fault a huge page


def test_wrong_results_are_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(conv, "TOLERANCE", {"float32": -1.0})
    options = ("--net", "lenet", "--layer", "conv2", "--batch", "1", "--pass", "forward", *ROUGH)
    assert run("conv", *options) == 1
    assert "WRONG: y of torch NCHW differs from that of fastconv" in capsys.readouterr().out


def test_pictures_have_labels():
    sample = timing.Samples([0.1, 0.2, 0.3], [0.0, 0.0, 0.0])
    row = rows.Measurement(
        "net layer", "1 x 2", "forward", 2e9, "GFLOP/s", {"fastconv": sample, "torch NHWC": sample}, 10**8
    )
    text = words_of(plot.bars([row], 40e9))
    for word in ("net layer", "FMA peak", "GFLOP/s", "1.00x", "forward"):
        assert word in text
    text = words_of(plot.roof([row], plot.roofline.Ceilings(40e9, 1e10, 5e10)))
    for word in ("FMA peak 40 GFLOP/s", "memory 10.0 GB/s", "level 2 caches 50 GB/s", "net layer", "intensity"):
        assert word in text
    two = rows.Measurement("l", "s", "forward", 1.0, "GFLOP/s", {"fastconv x1": sample, "fastconv x2": sample})
    text = words_of(plot.scaling([two]))
    for word in ("threads", "ideal", "geometric mean of 1", "fastconv", "1.00"):
        assert word in text
    images = rows.Measurement("lenet5", "batch 4", "train", 4, "images/s", {"fastconv": sample, "torch NHWC": sample})
    assert "the fastest = 1" in words_of(plot.bars([images]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", _kernels.available_isas())
def test_the_peak_counts_what_it_computes(isa, dtype):
    """Every sum is 12 chains that converge to 2 from s -> s / 2 + 1; the count of operations follows the vectors."""
    _kernels.select_isa(isa)
    lanes = {"avx512": 64, "avx2": 32}.get(isa, 16) // np.dtype(dtype).itemsize
    sums = np.zeros((2, 64), dtype)
    assert _kernels.fma_peak(2, 200, np.array([0.5, 1.0], dtype), sums) == 2 * 2 * 200 * 12 * lanes
    np.testing.assert_allclose(sums.ravel()[: 2 * lanes], 24.0, rtol=1e-6)
    assert (sums.ravel()[2 * lanes :] == 0).all()
    with pytest.raises(ValueError, match="64 bytes a part"):
        _kernels.fma_peak(2, 1, np.array([0.5, 1.0], dtype), np.zeros(1, dtype))


@pytest.mark.parametrize("isa", _kernels.available_isas())
@pytest.mark.parametrize("n", [1, 3, 16, 33, 100_003])
def test_triad(isa, n):
    _kernels.select_isa(isa)
    b, c = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    a = np.full(n + 1, -1, np.float32)
    _kernels.triad(a[:n], b, c, 3.0)
    np.testing.assert_array_equal(a, [*(b + 3), -1])


def test_machine():
    about = machine.describe()
    assert about["cpu"]
    assert about["cores"] >= 1
    assert machine.version("no-such-package") is None
    assert machine.bandwidth(1 << 20, 0.001) > 1e8


def test_cpu_model(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name\t: Some CPU\n\nprocessor : 1\nmodel name : Other\n")
    assert machine.cpu_model(file) == "Some CPU"
    assert machine.cpu_model(tmp_path / "missing")
