"""CPU settings for the same digits on every x86-64 CPU with AVX2, and for speed beside busy processes.

Rounding depends on the order in which numbers are added, and that order on the number of threads and on the instruction
set that a library picks for the CPU. Both are fixed: one thread a computation (independent pieces run side by side, see
`core.parallel`), AVX2 in ATen and oneDNN, and MKL's mode COMPATIBLE, since MKL's AVX2 mode gives other digits on AMD.
Beside a busy process, two threads that wait for each other are 5 to 10 times as slow as one.
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
    """Set the variables that the environment doesn't set. Call it before torch is imported, which reads them."""
    for name, value in SETTINGS.items():
        if name == "OMP_NUM_THREADS" or _has_avx2():
            os.environ.setdefault(name, value)


def _has_avx2() -> bool:
    """Whether this is an x86-64 CPU with AVX2, as nearly all are since 2015."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    about = Path("/proc/cpuinfo")
    return not about.exists() or " avx2" in about.read_text(encoding="utf-8")
