"""The soak's own rule: who has looked since a moment, so that a resume counts as seen."""

from typing import cast

from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import MARK
from tests.soak.diary import Life
from tests.soak.looks import Looks
from tests.soak.stage import Governor, Stage


class OnStage:
    """What is asked of a stage: who lives, and connections."""

    def __init__(self, store: Store, names: tuple[str, ...]) -> None:
        self._store = store
        self.lives = [Life(name, number, 0.0) for number, name in enumerate(names)]

    @property
    def governors(self) -> list[Governor]:
        return [cast(Governor, self._Known(life)) for life in self.lives if life.ended is None]

    def store(self, timeout_sec: float) -> Store:
        return Store(self._store.url, self._store.keys, timeout_sec=timeout_sec)

    class _Known:
        def __init__(self, life: Life) -> None:
            self.life = life


def test_a_resume_is_seen_once_every_governor_that_lives_has_looked(store: Store) -> None:
    stage = OnStage(store, ("a", "b"))
    looks = Looks(cast(Stage, stage))

    def look(name: str, at_ms: int) -> None:
        store.run("SET", store.keys.at(MARK, name), at_ms)

    look("a", 1_000)
    look("b", 1_500)
    then = looks.now()
    assert not looks.all_since(then)
    look("a", 2_000)
    assert not looks.all_since(then), "b may still keep what it knows"
    look("b", 900)
    assert looks.all_since(then), "also where the clock was set back"
    store.run("FLUSHALL")
    assert not looks.all_since(then)
    lost = looks.none_yet()
    look("a", 3_000)
    assert not looks.all_since(lost), "b has not found the loss"
    stage.lives[1].ended = 9.0
    assert looks.all_since(lost), "who is dead keeps nothing"
    assert looks.all_since([])
    looks.close()
