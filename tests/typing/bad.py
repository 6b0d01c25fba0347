"""What a type checker must refuse. A line that it would accept is an error too: an ignore that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator

from openmsi_core import DataFile, Extractor, Processor, Reject, Result, RetryLater, Sink, Stored


class SaysText(Extractor):
    def extract(self, file: DataFile) -> str:  # type: ignore[override]
        return file.name


class TakesBytes(Extractor):
    def extract(self, file: bytes) -> dict[str, object]:  # type: ignore[override]
        return {}


class YieldsDicts(Processor):
    def process(self, file: DataFile) -> Iterator[dict[str, object]]:  # type: ignore[override]
        yield {}


class SaysNothing(Sink):
    def write(self, file: DataFile) -> None:  # type: ignore[override]
        return None


class WithoutMethod(Extractor):
    pass


def calls(file: DataFile) -> None:
    WithoutMethod()  # type: ignore[abstract]
    Stored(b"somewhere")  # type: ignore[arg-type]
    Result({}, key=5)  # type: ignore[arg-type]
    RetryLater("soon")  # type: ignore[arg-type]
    Reject()
    file.size = 5  # type: ignore[misc]
    file.path.write_text("x")  # type: ignore[attr-defined]
