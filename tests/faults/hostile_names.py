"""Names that a sender may use to do harm, or that some platform cannot store.

``REFUSED`` are paths that must not exist; ``GROUPS`` are paths that must be stored and read back, each group in one
folder tree.
"""

from __future__ import annotations

from pathlib import Path

Parts = tuple[str, ...]

_NAMES = [
    *(
        "...",
        "....",
        " ..",
        ".. ",
        "..\\..\\x",
        "\\\\server\\share\\x",
        "C:\\x",
        "C:x",
        "C:",
        "..;",
        "..%00",
        "%2e%2e%2fx",
    ),
    *("\x01", "a\x1b[2Jb", "\n", "a\nb", "\r\n", "\t", "\x7f", "\x85", "\u2028", "\u202egpj.exe", "\u200b", "\ufeffx"),
    *("x" * 255, "é" * 127, "😀" * 63, ":" * 255, "." * 255, " " * 255, "%41" * 85, "CON" + "." * 200, "\udce9" * 255),
    *("dot.", "dots...", "space ", " ", "  ", " lead", "both. .", "a .b", "~", "~root", "~1", "a~1.txt", "PROGRA~1"),
    *("-rf", "--help", "$HOME", "`id`", "$(id)", "a;b|c&d", "*", "?", "[a]", "{a,b}", "<a>", "#", "!", "@", "=cmd()"),
    *("'", '"', "it's", 'say "x"', ",", "a,b;c\td", "\\", "\\n", "%", "%%", "%s%n%d", "%41", "%4", "%zz", "%C3%A9"),
    *("%2E", "%2Eopenmsi", "%252Eopenmsi", "%25252Eopenmsi", "%2eopenmsi", "%2EOpenMSI", "%25", "%2525"),
    *("%+", "x%+", "%%2B", "x%%2B", "%%252B", "%+%+", "%2B", "%%+"),
    *("CON", "con", "NUL.txt", "nul.tar.gz", "COM1", "com1.x", "LPT9", "AUX.", "PRN ", "CON .txt", "conin$", "CLOCK$"),
    *("COM¹", "lpt³.x", "COM10", "file::$DATA", "a:b", "desktop.ini", "Thumbs.db", ".DS_Store", "._x"),
    *(".openmsi", ".OpenMSI", ".OPENMSI", ".openmsi ", ".openmsi.", ".openmsi~1", "OPENMS~1", "openmsi"),
    *(
        "caf\udce9.txt",
        "\udcff\udcfe",
        "a\udc80b",
        "é",
        "e\u0301",
        "ﬁ",
        "ß",
        "İ",
        "\u0131",
        "Å",
        "K",
        "走査",
        "🧪",
        "👩‍🔬",
        "\u202eא",
    ),
    *(
        "lock",
        "starting",
        "store-1-x",
        "spool-1-dead.lock",
        ".hidden",
        ".x.tmp",
        "~$x.doc",
        ".nfs0001",
        ".fuse_hidden1",
    ),
]

_DEEP = [tuple(["d"] * 2047 + ["f"]), tuple(["e" * 255] * 15 + ["f" * 240]), tuple([":" * 60] * 60 + ["x"])]
_TWINS: list[list[Parts]] = [
    [("Run", "Scan.txt"), ("Run", "scan.txt"), ("run", "Scan.txt"), ("Run", "SCAN.txt"), ("RUN", "x")],
    [("é",), ("e\u0301",), ("É",), ("E\u0301",)],
    [("straße",), ("STRASSE",), ("strasse",)],
    [("%53can",), ("Scan",), ("scan",), ("%73%63%61%6E",)],
    [("a:b",), ("a%3Ab",), ("a%3ab",), ("A:B",)],
    [(".openmsi", "store-1", "1"), (".openmsi", "lock"), (".openmsi", "starting"), (".OPENMSI", "lock")],
    [(".openmsi",), ("%2Eopenmsi",), ("%252Eopenmsi",)],
    [("x" * 80, "1"), ("X" * 80, "2")],
    [(":" * 255,), (":" * 254,), (":" * 254 + "?",), (":" * 128 + "%+", ":" * 127)],
]
GROUPS: list[list[Parts]] = [
    *([(name,), ("x", name), ("y", name, "inner")] for name in _NAMES),
    *([(name, "inner"), ("x", "X", name)] for name in _NAMES if name.lower() != "x"),
    *([deep] for deep in _DEEP),
    *_TWINS,
]

_REFUSED: list[tuple[object, ...]] = [
    *[("..", "x"), ("a", "..", "..", "x"), ("..",), (".",), ("",), ("a", ""), ("", "a"), ("a", ".", "b"), ()],
    *[("/etc/passwd",), ("a/../../x",), ("a/b",), ("a\0b",), ("\0",), ("x" * 256,), ("é" * 128,)],
    *[tuple(["d"] * 2050), ("a" * 255,) * 17, (b"..", "x"), (b"a/b",), (b"\xff/../x",), (b"",), (b"\0",)],
    *[(1,), (None,), (["a"],), ({"a": "b"},), (True,), (1.5, "x")],
]


def refused(outside: Path) -> list[tuple[object, ...]]:
    """Paths that must not exist, some of which would lead to ``outside``."""
    return [*_REFUSED, (f"{outside}/x",), ("", *outside.parts[1:], "x"), ("..", outside.name, "x"), (bytes(outside),)]
