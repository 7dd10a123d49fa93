"""CPU settings that make the same digits on every x86-64 CPU with AVX2, also beside a busy neighbour.

Sums are rounded in the order in which they are added, and that order depends on the number of threads and on the
instruction set that each library picks for the CPU it finds. So both are fixed: one thread a computation (independent
pieces run side by side instead, see `execution`), AVX2 in ATen, oneDNN and MKL. One thread also never waits for another
at a barrier, which makes two of them 5 to 10 times slower beside a busy process.
"""

import os
import platform
from pathlib import Path

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
}


def fix() -> None:
    """Set what the environment leaves open. Call it before torch is imported: the libraries read it when they load."""
    for name, value in SETTINGS.items():
        if name == "OMP_NUM_THREADS" or _has_avx2():
            os.environ.setdefault(name, value)


def _has_avx2() -> bool:
    """Whether this is an x86-64 CPU with AVX2, as all have since about 2015."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    about = Path("/proc/cpuinfo")
    return not about.exists() or " avx2" in about.read_text(encoding="utf-8")
