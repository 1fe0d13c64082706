"""Measurements of fastconv and its peers on this machine; every module is a program (`python -m fastconv.bench.NAME`)."""
