"""What is kept of a proposal's bytes is never used for another proposal."""

import msgspec

from qtctl.domain.allocation import Proposal
from qtctl.domain.reasons import EffReason
from qtctl.wire.allocation.proposals import Packer
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.records import PROPOSAL

AT = 1_769_558_400
PROPOSAL_MADE = Proposal(
    "BTCUSDT", 1000.0, 1200.0, 1.2, "1.2000", EffReason.OK, 0.7, 0.9, stale=False
)
CHANGES = {
    "symbol": "ETHUSDT", "base_usd": 1001.0, "proposed_usd": 1201.0, "multiplier": 1.3,
    "multiplier_text": "1.3000", "reason": EffReason.STALE, "score": 0.8, "confidence": 0.91,
    "stale": True,
}  # fmt: skip


def test_whatever_changes_the_bytes_are_those_of_a_packer_that_knows_nothing() -> None:
    assert {*CHANGES} == {*Proposal.__struct_fields__}
    packer = Packer(Keys(), 600)
    packer.commands([PROPOSAL_MADE], AT, 10_000)
    changed = [
        *(msgspec.structs.replace(PROPOSAL_MADE, **{name: to}) for name, to in CHANGES.items()),
        PROPOSAL_MADE,
    ]
    for at, proposal in enumerate(changed, AT):
        fresh = Packer(Keys(), 600).commands([proposal], at, 10_000)
        assert packer.commands([proposal], at, 10_000) == fresh
        for text in (str(at), *PROPOSAL.flat(proposal)):
            assert text.encode() in fresh[0]
            assert text.encode() in fresh[1]


def test_symbols_that_are_gone_are_forgotten() -> None:
    packer = Packer(Keys(), 600)
    many = [msgspec.structs.replace(PROPOSAL_MADE, symbol=f"S{n}") for n in range(1_100)]
    packer.commands(many, AT, 10_000)
    packer.keep_only(1_000)
    assert len(packer._kept) == 1_100
    packer.keep_only(10)
    assert len(packer._kept) == 0
