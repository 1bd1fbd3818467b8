# SPDX-License-Identifier: MIT
"""Count what nvcc makes of the kernels for common tables: instructions, registers, spills, warps.

    python benchmarks/gpu_counts.py --cuobjdump <cuobjdump>

No GPU is needed; nvcc is NVIDIA's package of that name, cuobjdump also comes with Triton. Numbers
are instructions of one warp: of a convolution per edge (the innermost loop) and, at most, once per
32 edges and center (all else); of a product basis per node and 32 channels.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from machine import describe

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "edge_known_forward": "convolution",
    "edge_known_backward": "convolution, gradient",
    "product_known": "product basis",
}
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
KERNEL = re.compile(r"kernelINS_\d+([A-Z]\w+?\d\d)E(?:Li(\d)|Lb(\d))E([fd])E")
LEAST_LOADS = 16  # of the loop over edges: four numbers at knots for each of four paths
REGISTERS, WARPS_PER_BLOCK, MOST_WARPS = 65536, 4, 64  # of a multiprocessor, from sm_80 on
Row = dict[str, object]


def main() -> None:
    """Compile, count, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--cuobjdump", default="cuobjdump")
    parser.add_argument("--architectures", nargs="+", type=int, default=[80, 90, 100])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_counts.json"
    )
    args = parser.parse_args()
    rows = [
        row
        for source in SOURCES
        for architecture in args.architectures
        for row in count(args.nvcc, args.cuobjdump, source, architecture)
    ]
    version = output_of([args.nvcc, "--version"])
    nvcc = re.search(r"release [\d.]+, V([\d.]+)", version)
    report = {**describe(), "nvcc": nvcc.group(1) if nvcc else version, "rows": rows}
    args.output.write_text(json.dumps(report, indent=1) + "\n")
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


def count(nvcc: str, cuobjdump: str, source: str, architecture: int) -> Iterator[Row]:
    """Yield a row for each kernel of a source."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernels.cubin"
        path = ROOT / "pair_ictp" / "ops" / "cuda" / f"{source}.cu"
        options = ["-std=c++17", "-O3", f"-arch=sm_{architecture}", f"-I{ROOT / 'pair_ictp'}"]
        said = output_of([nvcc, *options, "--resource-usage", "-cubin", "-o", binary, path])
        listing = output_of([cuobjdump, "-sass", binary])
    used = {
        name: (int(registers), int(stores) + int(loads))
        for name, stores, loads, registers in re.findall(
            r"properties for (\w+)\n.*?(\d+) bytes spill stores, (\d+) bytes spill loads\n"
            r".*?Used (\d+) registers",
            said,
        )
    }
    for text in re.split(r"\n\s*Function : ", listing)[1:]:
        name = text.split("\n", 1)[0].strip()
        found = KERNEL.search(name)
        assert found, name
        table, channels, gradient, kind = found.groups()
        registers, spilled = used[name]
        yield {
            "kernel": SOURCES[source] + (", gradient" if gradient == "1" else ""),
            "table": table,
            "architecture": f"sm_{architecture}",
            "dtype": {"f": "float32", "d": "float64"}[kind],
            "channels": 32 * int(channels or 1),
            "registers": registers,
            "spilled_bytes": spilled,
            "warps": warps(registers),
            **instructions(text),
        }


def instructions(listing: str) -> Row:
    """Return how many instructions a kernel has, in its loop over edges and without."""
    found = [
        (int(at, 16), name.split(".")[0], rest) for at, name, rest in INSTRUCTION.findall(listing)
    ]
    found = [instruction for instruction in found if instruction[1] != "NOP"]
    loops = []
    for at, name, rest in found:
        target = re.search(r"0x([0-9a-f]+)", rest) if name == "BRA" else None
        if target and int(target.group(1), 16) < at:
            body = Counter(n for a, n, _ in found if int(target.group(1), 16) <= a <= at)
            if body["LDG"] >= LEAST_LOADS:
                loops.append(body)
    if not loops:
        return {"instructions": len(found)}
    loop = min(loops, key=Counter.total)
    return {
        "instructions_per_edge": loop.total(),
        "multiply_adds_per_edge": loop["FFMA"] + loop["DFMA"],
        "loads_per_edge": loop["LDG"],
        "instructions_once": len(found) - loop.total(),
    }


def warps(registers: int) -> int:
    """Return how many warps of kernels with so many registers a multiprocessor holds."""
    of_block = -(-registers // 8) * 8 * 32 * WARPS_PER_BLOCK
    return min(REGISTERS // of_block * WARPS_PER_BLOCK, MOST_WARPS)


def output_of(command: list[object]) -> str:
    """Return what a program prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
