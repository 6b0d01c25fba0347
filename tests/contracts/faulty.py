"""Plugins with one fault each, for the check of the contract suite that must find it; and one of each kind without."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

GOOD_SCAN = "SCAN\nanode=Cu\npoints=5\n"
BAD_SCAN = "no scan at all\n"


@dataclass(frozen=True)
class Faulty:
    """``check`` must fail, and say ``says``. ``more`` is what stands in its contract class besides."""

    check: str
    kind: str
    source: str
    says: str
    requires: str = "openmsi>=0.1,<1"
    more: str = ""
    group: str = ""
    module: str = ""
    samples: dict[str, object] = field(default_factory=lambda: {"good.scan": {"anode": "Cu"}})


def extractor(*, top: str = "", attributes: str = "", body: str = "", options: str = "", doc: str = "Reads.") -> str:
    return _source("Extractor", "extract", top, attributes, body or READ + "return dict(pairs)", options, doc)


def processor(*, top: str = "", body: str = "") -> str:
    return _source("Processor", "process", top, "", body or READ + "yield from (Result(list(p)) for p in pairs)")


def sink(*, top: str = "", body: str = "", more: str = "") -> str:
    source = _source("Sink", "write", top, "", body or KEEP, "    folder: Path\n    '''Where.'''")
    return source + textwrap.indent(textwrap.dedent(more), "    ")


READ = """
text = file.text()
if not text.startswith("SCAN"):
    raise Reject("it does not begin with SCAN")
pairs = [tuple(line.partition("=")[::2]) for line in text.splitlines()[1:]]
"""

KEEP = """
target = self.options.folder / hashlib.sha256(str(file.path).encode()).hexdigest()
self.options.folder.mkdir(parents=True, exist_ok=True)
file.save_to(target)
return Stored(str(target.resolve()))
"""


def _source(
    kind: str, method: str, top: str, attributes: str, body: str, options: str = "", doc: str = "Reads."
) -> str:
    head = f"""
import hashlib, os, random, sys, threading, time
from pathlib import Path
from openmsi_core import Extractor, PluginOptions, Processor, Reject, Result, Sink, Stored
{textwrap.dedent(top)}

class It({kind}):
"""
    inside = f'"""{doc}"""\n' if doc else ""
    if "accepts" not in attributes:
        attributes += '\naccepts = ("*.scan",)'
    inside += textwrap.dedent(attributes)
    if options:
        inside += "\nclass Options(PluginOptions):\n" + textwrap.indent(textwrap.dedent(options), "    ")
    inside += f"\ndef {method}(self, file):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return head + textwrap.indent(inside, "    ") + "\n"


CORRECT = [
    Faulty("", "extractor", extractor(), ""),
    Faulty("", "processor", processor(), "", samples={"good.scan": [["anode", "Cu"], ["points", "5"]]}),
    Faulty("", "sink", sink(), "", samples={"good.scan": None}),
]

_RETURN = READ + "return dict(pairs)\n"

FAULTY = [
    # packaging
    Faulty("entry-point", "extractor", extractor(top="raise RuntimeError('no licence')"), "cannot be imported"),
    Faulty("entry-point", "extractor", extractor(top="os._exit(3)"), "ended its process with exit code 3"),
    Faulty(
        "entry-point",
        "extractor",
        extractor(top="while True: pass"),
        "importing it did not end within 1 s",
        more="time_limit = 1.0",
    ),
    Faulty("entry-point", "sink", extractor(), "is registered as extractor", group="openmsi.extractors"),
    Faulty("window", "extractor", extractor(), "has no upper end", requires="openmsi>=0.1"),
    Faulty("static", "extractor", extractor(attributes='accepts = tuple(["*.scan"])'), "as literals"),
    Faulty("accepts-is-many", "extractor", extractor(attributes='accepts = "*.scan"'), "must be a tuple"),
    Faulty("docstring", "extractor", extractor(doc=""), "has no docstring"),
    Faulty("renamed", "extractor", extractor(), "Rename the folder", module="my_xrd_extractor"),
    # import
    Faulty("import-time", "extractor", extractor(top="time.sleep(2.1)"), "import what is slow in open()"),
    Faulty("import-quiet", "extractor", extractor(top="print('hello')"), "prints 'hello"),
    Faulty(
        "import-threads",
        "extractor",
        extractor(top="threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"),
        "starts the threads",
    ),
    Faulty(
        "import-threads",
        "extractor",
        extractor(top="import subprocess; subprocess.run([sys.executable, '-c', ''])"),
        "starts processes",
    ),
    Faulty(
        "import-network",
        "extractor",
        extractor(
            top="import socket\nwith socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
            "    s.connect(('127.0.0.1', 9))"
        ),
        "uses the network",
    ),
    Faulty(
        "import-logging",
        "extractor",
        extractor(top="import logging; logging.basicConfig(level=10)"),
        "sets logging up",
    ),
    Faulty(
        "import-files",
        "extractor",
        extractor(top="Path('cache.txt').write_text('x')"),
        "changes files ['open cache.txt'",
    ),
    Faulty("import-kafka", "extractor", extractor(top="import confluent_kafka"), "imports confluent_kafka"),
    # options
    Faulty(
        "options-schema",
        "extractor",
        extractor(top="from collections.abc import Callable", options="how: Callable[[], int] = int\n'''How.'''"),
        "have no JSON Schema",
    ),
    Faulty("options-described", "extractor", extractor(options="depth: int = 1"), "no text under depth"),
    Faulty("options-defaults", "extractor", extractor(options="depth: int = 'deep'\n'''D.'''"), "'depth'"),
    Faulty(
        "options-unknown",
        "extractor",
        extractor(options="model_config = {'extra': 'ignore'}\ndepth: int = 1\n'''D.'''"),
        "takes an option that does not exist",
    ),
    Faulty(
        "options-secrets", "extractor", extractor(options="password: str = ''\n'''P.'''"), "make the type SecretStr"
    ),
    # function
    Faulty("accepts", "extractor", extractor(attributes='accepts = ("*.scn",)'), "matches none of accepts"),
    Faulty("sniff", "extractor", extractor(attributes='sniff = b"XYZ"'), "has no b'XYZ' in its first 4 KiB"),
    Faulty("result", "extractor", extractor(body=READ + "return {'it': object()}"), "object has no place in JSON"),
    Faulty("result", "extractor", extractor(body=READ + "return pairs"), "must give a dict"),
    Faulty("result", "extractor", extractor(), "there is no sample", samples={"missing.scan": {}}),
    Faulty("result", "extractor", extractor(), "has no samples", samples={}),
    Faulty("result", "processor", processor(body=READ + "return pairs"), "Result(value) for each"),
    Faulty(
        "expected", "extractor", extractor(), "anode: expected 'Co', found 'Cu'", samples={"good.scan": {"anode": "Co"}}
    ),
    Faulty("expected", "processor", processor(), "expected 1 elements", samples={"good.scan": [["anode", "Cu"]]}),
    Faulty(
        "deterministic",
        "extractor",
        extractor(body=READ + "return {'anode': 'Cu', 'at': time.time_ns()}"),
        "gave another result the second time",
    ),
    Faulty(
        "input-unchanged",
        "extractor",
        extractor(body="with file.local_path().open('ab') as out:\n    out.write(b'!')\n" + _RETURN),
        "changed good.scan",
    ),
    Faulty(
        "memory-or-disk",
        "extractor",
        extractor(body=READ + "return dict(pairs) | {'on': str(file.content.path() is None)}"),
        "Small files never touch a disk",
    ),
    Faulty(
        "child", "extractor", extractor(body=READ + "return {'anode': 'Cu', 'pid': os.getpid()}"), "another process"
    ),
    Faulty(
        "four-at-once",
        "extractor",
        extractor(
            top="now = {}",
            body="now['file'] = file.text()\ntime.sleep(0.01)\nreturn {'length': len(now['file']), 'anode': 'Cu'}",
        ),
        "not in the module or the class",
    ),
    Faulty("quiet", "extractor", extractor(body="print('reading')\n" + _RETURN), "use self.log.info"),
    Faulty(
        "closes",
        "extractor",
        extractor(body="threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n" + _RETURN),
        "still run after close()",
    ),
    Faulty(
        "place", "extractor", extractor(body=READ + "return dict(pairs) | {'p': str(file.path)}"), "under another name"
    ),
    Faulty(
        "abandoned",
        "processor",
        processor(
            body=READ + "pairs = [p for p in pairs if p not in getattr(self, 'seen', [])]\nself.seen = []\n"
            "for pair in pairs:\n    self.seen.append(pair)\n    yield Result(list(pair))\nself.seen = []"
        ),
        "begin each file afresh",
        samples={"good.scan": [["anode", "Cu"], ["points", "5"]]},
    ),
    # hostile input
    Faulty("rejects", "extractor", extractor(body="return {'anode': 'Cu'}"), "should be rejected"),
    Faulty(
        "rejects",
        "extractor",
        extractor(body="if not file.text().startswith('SCAN'):\n    raise Reject('')\nreturn {'anode': 'Cu'}"),
        "rejected without a reason",
    ),
    Faulty("empty", "extractor", extractor(body="file.text()[0]\n" + _RETURN), "IndexError"),
    Faulty("one-byte", "extractor", extractor(body="file.size == 1 and sys.exit(1)\n" + _RETURN), "SystemExit"),
    Faulty(
        "truncation",
        "extractor",
        extractor(body="if file.text().startswith('SCAN') and file.size < 20:\n    int('x')\n" + _RETURN),
        "good.scan cut at",
    ),
    Faulty(
        "truncation",
        "extractor",
        extractor(body="while file.text().startswith('SCAN') and file.size < 20: pass\n" + _RETURN),
        "no end after 1 s",
        more="time_limit = 1.0",
    ),
    Faulty(
        "random", "extractor", extractor(body="file.read_bytes()[-1] == 10 or os._exit(7)\n" + _RETURN), "exit code 7"
    ),
    Faulty(
        "encoding", "extractor", extractor(body="file.read_bytes().decode('utf-8')\n" + _RETURN), "UnicodeDecodeError"
    ),
    Faulty(
        "long-line",
        "extractor",
        extractor(body="if len(file.text()) > 9999:\n    print('long')\n" + _RETURN),
        "prints 'long",
    ),
    # stream
    Faulty(
        "shuffled",
        "extractor",
        extractor(body=READ + "return dict(pairs) | {'t': file.topic}"),
        "gave another result from a stream",
    ),
    Faulty(
        "interleaved",
        "extractor",
        extractor(
            body=READ + "self.seen = {**getattr(self, 'seen', {}), str(file.path): 1}\n"
            "return dict(pairs) | {'files': len(self.seen)}"
        ),
        "other/good.scan gave another result from a stream",
    ),
    Faulty(
        "twice",
        "extractor",
        extractor(body=READ + "self.times = getattr(self, 'times', 0) + 1\nreturn dict(pairs) | {'n': self.times}"),
        "gave another result from a stream",
    ),
    Faulty(
        "poison",
        "extractor",
        extractor(
            body="if getattr(self, 'busy', False):\n    raise Reject('busy')\nself.busy = True\n"
            + READ
            + "self.busy = False\nreturn dict(pairs)"
        ),
        "after a rejected file",
    ),
    Faulty(
        "killed",
        "sink",
        sink(
            body="target = self.options.folder / file.name\nself.options.folder.mkdir(parents=True, exist_ok=True)\n"
            "if target.exists():\n    raise Reject('it is there already')\n"
            "file.save_to(target)\nreturn Stored(str(target.resolve()))"
        ),
        "became a dead letter",
        samples={"good.scan": None},
    ),
    Faulty(
        "broker",
        "extractor",
        extractor(body=READ + "return dict(pairs) | {'t': file.topic}"),
        "gave another result from a stream",
    ),
    # sinks
    Faulty(
        "same-bytes", "sink", sink(body="return Stored('')"), "must say where the file is", samples={"good.scan": None}
    ),
    Faulty(
        "same-bytes",
        "sink",
        sink(body=KEEP.replace("file.save_to(target)", "target.write_text(file.text().upper())")),
        "are not its content",
        samples={"good.scan": None},
    ),
    Faulty(
        "again",
        "sink",
        sink(
            body=KEEP.replace("hexdigest()", "hexdigest() / str(time.time_ns())").replace(
                "self.options.folder.mkdir", "target.parent.mkdir"
            )
        ),
        "would be stored twice",
        samples={"good.scan": None},
    ),
    Faulty(
        "newer",
        "sink",
        sink(body=KEEP.replace("file.save_to(target)", "target.exists() or file.save_to(target)")),
        "the old content is still there",
        samples={"good.scan": None},
    ),
    Faulty(
        "odd-names",
        "sink",
        sink(body=KEEP.replace("str(file.path)", "file.name")),
        "two files went to",
        samples={"good.scan": None},
    ),
    Faulty(
        "flush",
        "sink",
        sink(body=KEEP + "", more="def flush(self):\n    raise ValueError('nothing to flush')"),
        "nothing to flush",
        samples={"good.scan": None},
    ),
    # the contract itself
    Faulty("waivers", "extractor", extractor(), "no check 'no-such-check'", more='waive = {"no-such-check": "why"}'),
    Faulty("waivers", "extractor", extractor(), "says no reason", more='waive = {"empty": " "}'),
]
