"""The server's clock against one that never steps: what is a step, and what only looks like one."""

import pytest
from msgspec.structs import replace

from qtctl import clock
from qtctl.services.clocks import JUMP_MS, ServerClock
from qtctl.services.server_watch import ServerWatch
from qtctl.wire.governor.commit import FAR_MS
from tests.services.test_review_hardening import SERVER


class Looks:
    """Looks at a server once a second by our clock; `off_ms` steps its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watch, self.boot, self.off_ms = ServerClock(), 1_000.0, 0
        self.run_id = "run"
        monkeypatch.setattr(clock, "boot", lambda: self.boot)

    def look(self, after_sec: float = 1.0, took_sec: float = 0.001) -> int:
        self.boot += after_sec
        before, at = self.boot, self.boot + took_sec / 2
        self.boot += took_sec
        now_ms = round(at * 1000) + 1_700_000_000_000 + self.off_ms
        server = replace(SERVER, run_id=self.run_id, now_ms=now_ms)
        return self.watch.note(server, before, self.boot)

    @property
    def server_ms(self) -> int:
        return round(self.boot * 1000) + 1_700_000_000_000 + self.off_ms


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_before_the_first_look_nothing_is_a_jump(looks: Looks) -> None:
    assert looks.watch.jumped_after_ms() == FAR_MS
    assert looks.look() == 0
    assert looks.watch.jumped_after_ms() == pytest.approx(looks.server_ms + JUMP_MS, abs=2)


def test_a_step_is_reported_once(looks: Looks) -> None:
    looks.look()
    looks.off_ms = 20_000
    assert looks.look() == pytest.approx(20_000, abs=10)
    assert [looks.look() for _ in range(5)] == [0] * 5
    looks.off_ms = 0
    assert looks.look() == pytest.approx(-20_000, abs=10)
    assert looks.watch.jump_ms == 0


def test_a_jump_stays_until_it_is_known_to_every_governor(looks: Looks) -> None:
    looks.look()
    looks.off_ms = 61_000
    assert looks.server_ms > looks.watch.jumped_after_ms(), "the atomic step sees it first"
    looks.look()
    assert looks.watch.jump_ms == pytest.approx(61_000, abs=10)
    looks.look()
    assert looks.watch.jump_ms == pytest.approx(61_000, abs=10)
    looks.watch.accept()
    assert looks.watch.jump_ms == 0
    assert looks.server_ms < looks.watch.jumped_after_ms()


def test_a_step_back_is_no_jump_and_the_way_forward_again_is_one(looks: Looks) -> None:
    """What is written in between has its lifetime by the clock that is behind."""
    looks.look()
    looks.off_ms = -3_600_000
    assert looks.look() < 0
    assert looks.watch.jump_ms == 0
    looks.off_ms = 0
    looks.look()
    assert looks.watch.jump_ms == pytest.approx(3_600_000, abs=10)


@pytest.mark.parametrize("ppm", [500, -500])
def test_a_clock_that_drifts_never_steps(looks: Looks, ppm: int) -> None:
    looks.look()
    for hour in range(1, 2_000):
        looks.off_ms = round(hour * 3_600_000 * ppm / 1e6)
        assert looks.look(after_sec=3_600) == 0
    assert looks.watch.jump_ms == 0
    assert abs(looks.off_ms) > JUMP_MS


def test_another_server_has_another_clock(looks: Looks) -> None:
    looks.look()
    looks.run_id, looks.off_ms = "another", 7_200_000
    assert looks.look(took_sec=5) == 0
    assert looks.watch.jumped_after_ms() == FAR_MS, "nothing is known of this one yet"
    assert looks.look() == 0
    assert looks.watch.jump_ms == 0


def test_a_host_that_slept_or_was_stopped_sees_no_jump(looks: Looks) -> None:
    looks.look()
    assert looks.look(after_sec=86_400) == 0, "CLOCK_BOOTTIME goes on while the host sleeps"
    # Stopped while it waited for the reply: the reply says little about the time.
    assert looks.look(took_sec=300) == 0
    assert looks.look() == 0
    assert looks.watch.jump_ms == 0


def test_a_mark_ahead_of_a_clock_that_stepped_back_is_taken_again() -> None:
    watch = ServerWatch(allow_eviction=False)
    watch.note(replace(SERVER, promoted=True, now_ms=50_000), lambda: "0-0")
    watch.note(replace(SERVER, promoted=True, now_ms=20_000), lambda: "0-0")
    assert watch.before == (20_000, 2**64 - 1)
    watch.note(replace(SERVER, promoted=True, now_ms=60_000), lambda: "0-0")
    assert watch.before == (20_000, 2**64 - 1)
