"""How many threads fastconv starts with: quotas of a process's cgroups, on file trees as Linux shows them, and a
bad number in the environment."""

from pathlib import Path

import pytest

from fastconv.checks import environment_threads
from fastconv.config import _quota


def v1(folder: str, quota: int) -> dict[str, str]:
    """Two files as version 1 has them."""
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


V1 = "12:cpuset:/c\n5:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"

#: membership (/proc/self/cgroup), files below /sys/fs/cgroup, CPUs.
TREES: dict[str, tuple[str | None, dict[str, str], int | None]] = {
    "no cgroups": (None, {}, None),
    "v2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "v2, the container's own": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "v2, no list of cgroups": (None, {"cpu.max": "300000 100000\n"}, 3),
    "v2, nested": ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n", "a/cpu.max": "max 100000\n"}, 1),
    "v2, the one above is smaller": ("0::/a/b\n", {"a/b/cpu.max": "800000 100000", "a/cpu.max": "250000 100000"}, 3),
    "v2, the root is smaller": ("0::/a\n", {"a/cpu.max": "800000 100000\n", "cpu.max": "20000 100000\n"}, 1),
    "v2, a folder between has no file": ("0::/a/b/c\n", {"a/b/x": "", "a/cpu.max": "200000 100000\n"}, 2),
    "v2, another cgroup": ("0::/a\n", {"b/cpu.max": "100000 100000\n"}, None),
    "v2, a path of the host": ("0::/docker/abc\n", {"cpu.max": "400000 100000\n"}, 4),
    "v2, outside the container": ("0::/../other\n", {"cpu.max": "400000 100000\n"}, 4),
    "v2, colons in the name": ("0::/a:b:c\n", {"a:b:c/cpu.max": "100000 100000\n"}, 1),
    "v1": (V1, v1("cpu/docker/abc", 50_000), 1),
    "v1, no limit": (V1, v1("cpu/docker/abc", -1), None),
    "v1, the one above": (V1, v1("cpu/docker/abc", -1) | v1("cpu/docker", 200_000), 2),
    "v1, a path of the host": (V1, v1("cpu", 300_000), 3),
    "v1, of another controller": (V1, v1("cpu/c", 100_000), None),
    "v1 and v2": (V1 + "0::/u\n", v1("cpu/docker/abc", 200_000) | {"u/cgroup.procs": ""}, 2),
    "nonsense": ("what\n::\n0:\n\n0::/a\n", {"a/cpu.max": "many few\n", "cpu.max": "1 0\n"}, None),
    "v2, one number": ("0::/\n", {"cpu.max": "100000\n"}, None),
}


@pytest.mark.parametrize("name", TREES)
def test_quota(name: str, tmp_path: Path) -> None:
    membership, files, cpus = TREES[name]
    root = tmp_path / "cgroup"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    assert _quota(root, tmp_path / "membership") == cpus


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_bytes(b"\xff\xfe 100000")
    (tmp_path / "membership").write_bytes(b"0::/\xff\n")
    assert _quota(tmp_path, tmp_path / "membership") is None


@pytest.mark.parametrize("value", ["5000", "1025", "0", "99999999999", "9" * 5000, "two"])
def test_thread_counts_beyond_the_limits(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_NUM_THREADS", value)
    with pytest.raises(ValueError, match=rf"^FASTCONV_NUM_THREADS='{value}' .* a whole number from 1 to 1024$"):
        environment_threads("FASTCONV_NUM_THREADS")
    monkeypatch.setenv("FASTCONV_NUM_THREADS", "1024")
    assert environment_threads("FASTCONV_NUM_THREADS") == 1024
