"""Measurements of fastconv and its peers on this machine; each module is a program: `python -m fastconv.bench.NAME`."""
