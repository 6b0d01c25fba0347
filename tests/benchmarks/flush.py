"""How many small files a second the disk sink makes durable: ``python -m tests.benchmarks.flush FOLDER``.

10,000 files of 10 KB in groups of 256, as a worker flushes them, in the folder given: figures are those of its disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import Disk

FILES, SIZE, GROUP, REPEATS = 10_000, 10_000, 256, 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder / "openmsi-flush"
    files = [data_file(os.urandom(SIZE), f"day {number % 50}/scan-{number}.raw") for number in range(FILES)]
    rates = []
    for repeat in range(REPEATS):
        sink = Disk(Disk.Options(folder=folder / f"{repeat}"))
        sink.open()
        began = time.perf_counter()
        for number, file in enumerate(files, 1):
            sink.write(file)
            if number % GROUP == 0 or number == FILES:
                sink.flush()
        rates.append(FILES / (time.perf_counter() - began))
        sink.close()
    shutil.rmtree(folder)
    print(
        f"{FILES:,} x {SIZE:,} bytes: {min(rates):,.0f} / {statistics.median(rates):,.0f} / {max(rates):,.0f} files/s"
    )


if __name__ == "__main__":
    main()
