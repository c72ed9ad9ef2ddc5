"""Bad input on purpose: a byte-level fuzzer over entries and hashes, from one seed, and strings
that would like to steer a terminal."""

import random
from collections.abc import Sequence

from tests.faults.reference import Raw

SEED = 20260128

NUMERALS: Sequence[bytes] = [
    text.encode()
    for text in (
        "0", "-0", "+1", "1", " 1 ", "\t0.5\r\n", "\x0b1", "\x0c1", "\xa01", "1\x00", "1_0", "0x1",
        "0b1", "1e999", "-1e999", "1e308", "-1e308", "1e-400", "nan", "NaN", "-nan", "inf", "-inf",
        "Infinity", "１", "٣", "²", "1,5", "1.", ".", ".5", "-.5", "-", "--1", "1e", "1e+", "1E5",
        "1e+05", "e5", "1e5.5", "0" * 70, "9" * 400, "1" * 5_000, "0.1", "0.79999999999999999999",
        "0.8", "1.0000000000000001", "1.1", "-1", "2", "true", "null", "[]", '{"a": 1}', "1d", "1f",
        "1769558400", "1769558400123", "2026-01-28T00:00:00Z", "2026-01-28", "2026-02-30",
        "2026-01-28T00:00:00+25:00", "0001-01-01T00:00:00+23:59", "９９", "soon", "1 2", "−1",
    )
]  # fmt: skip
CONTROL: Sequence[bytes] = [
    text.encode()
    for text in (
        "\x1b[31mred\x1b[0m", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\nb", "a\rb", "\x00",
        "\u202eevil", "\u2066x\u2069", "\u200b", "\u2028", "\ufeffx", "[bold red]x[/]", "[link=x]y",
        ":smile:", "x" * 64, "x" * 65, "é" * 64, "計画", "😀", "a b", "\xa0", "\u3000", "a:b", "a*",
        "a?", "{a}", "p33:1", "p26:1", "p33", "null", "\U000e0041", "\ufffe", "%s", "${x}", "'; --",
        "\x7f", '"', "\\",
    )
]  # fmt: skip
NOT_UTF8: Sequence[bytes] = [
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"ok\xfe", b"\xf5\x80\x80\x80", b"\x80\x1b[31m",
]  # fmt: skip
WORDS: Sequence[bytes] = [
    b"true", b"TRUE", b"False", b"1", b"0", b"yes", b"No", b"on", b"off", b"2", b" true", b"",
    b"EXECUTE", b"execute", b"SKIP", b"HALT", b"CLOSE", b"OPEN", b"OPEN_PROPOSED", b"UPDATE_SL",
    b"PARTIAL_25", b"FULL_CLOSE_PROPOSED", b"BUY", b"SELL",
]  # fmt: skip
NUMBERS = (b"kill_score", b"qty", b"price", b"entry_price", b"timestamp")
NAMES = (b"plan_id", b"symbol", b"decision", b"action", b"side", b"reduceOnly", b"source", *NUMBERS)


class Fuzzer:
    """Entries and hashes, the same for the same seed."""

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def plan(self) -> Raw:
        """An entry of the plan stream: good in every third case, else with a few things wrong."""
        self._count += 1
        pick = self._random
        entry: Raw = [
            (b"plan_id", b"f%d" % self._count),
            (b"symbol", b"S%dUSDT" % pick.randrange(50)),
            (b"decision", pick.choice([b"EXECUTE"] * 6 + [b"SKIP", b"\xe8\xa8\x88"])),
        ]
        for name, good in (
            (b"action", [b"OPEN_PROPOSED", b"CLOSE", b"UPDATE_SL", b"PARTIAL_33"]),
            (b"side", [b"BUY", b"CLOSE"]),
            (b"reduceOnly", [b"true", b"0", b"YES"]),
            (b"kill_score", [b"0.1", b"1"]),
            (b"qty", [b"0.01", b"0", b"-3"]),
            (b"price", [b"100", b"2e3"]),
            (b"entry_price", [b"99.5"]),
            (b"timestamp", [b"1769558400", b"2026-01-28T00:00:00Z"]),
            (b"source", [b"fuzz"]),
        ):
            if pick.random() < 0.4:
                entry.append((name, pick.choice(good)))
        pick.shuffle(entry)
        for _ in range(pick.choice((0, 1, 1, 2, 5))):
            self._spoil(entry)
        return entry or [(b"", b"")]

    def hash(self, good: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """A hash of these fields: as they are in every third case, else spoiled."""
        entry = list(good.items())
        for _ in range(self._random.choice((0, 1, 2))):
            self._spoil(entry)
        return dict(entry[-3_000:])

    def value(self) -> bytes:
        """One bad value."""
        pick, dice = self._random, self._random.random()
        if dice < 0.4:
            return pick.choice(NUMERALS)
        if dice < 0.6:
            return pick.choice(CONTROL)
        if dice < 0.7:
            return pick.choice(NOT_UTF8)
        if dice < 0.85:
            return pick.choice(WORDS)
        if dice < 0.99:
            return pick.randbytes(pick.choice((0, 1, 2, 9, 70)))
        return pick.choice((b"A", b"\xff", b"9", "é".encode())) * pick.choice(
            (65_530, 65_537, 200_000)
        )

    def _spoil(self, entry: Raw) -> None:
        pick = self._random
        dice = pick.random()
        at = pick.randrange(len(entry)) if entry else None
        if dice < 0.45 and at is not None:
            entry[at] = (entry[at][0], self.value())
        elif dice < 0.55 and at is not None:
            del entry[at]
        elif dice < 0.65 and at is not None:
            entry.append((entry[at][0], pick.choice((entry[at][1], self.value()))))
        elif dice < 0.75 and at is not None:
            entry[at] = (self._flipped(entry[at][0]), self._flipped(entry[at][1]))
        elif dice < 0.995:
            entry.append((pick.choice((pick.choice(NAMES), self.value())), self.value()))
        else:
            many = pick.choice((300, 3_000, 5_000))
            entry.extend((b"x%d" % number, b"y" * pick.randrange(30)) for number in range(many))

    def _flipped(self, raw: bytes) -> bytes:
        """One byte of it is another, or is gone, or is there twice."""
        at = self._random.randrange(len(raw) + 1)
        middle = self._random.choice((b"", self._random.randbytes(1), raw[at : at + 1] * 2))
        return raw[:at] + middle + raw[at + 1 :]
