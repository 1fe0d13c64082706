"""The benchmark programs run and print what they promise; nothing is asserted about speed here."""

import re

import pytest

import fastconv as fc
from fastconv.bench import mnist_epoch, overhead


def test_mnist_epoch_prints_medians_and_a_ratio(capsys):
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    assert mnist_epoch.main(["--images", "64", "--batch-size", "8", "--rounds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "one epoch of 64 digits" in printed
    assert len(re.findall(r"median of 2: [\d.]+ to [\d.]+ s", printed)) == 3
    assert float(re.search(r"fastconv is ([\d.]+) times", printed).group(1)) > 0


def test_the_digits_repeat_to_any_number():
    x, y = mnist_epoch.digits(5_003)
    assert (x.shape, y.shape) == ((5_003, 28, 28, 1), (5_003,))
    assert x.max() == 1.0
    assert (x[5_000:] == x[:3]).all()
    assert (y[5_000:] == y[:3]).all()


def test_overhead_prints_a_line_for_every_kind_of_layer(capsys):
    threads = fc.get_num_threads()
    try:
        assert overhead.main(["--calls", "2"]) == 0
    finally:
        fc.set_num_threads(threads)
    printed = capsys.readouterr().out
    for name in overhead.CASES:
        assert len(re.findall(rf"^{name} +([\d.]+ +\(-?[\d.]+\) *){{3}}$", printed, re.MULTILINE)) == 1
