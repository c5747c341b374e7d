from __future__ import annotations

from kitaru_nb.journal.ledger import _ENTRY_BYTES, _position

NAME = bytes(range(16))


def test_a_name_is_found_in_its_bucket_at_an_entrys_start_only() -> None:
    other = b"\xff" * 16
    astride = other[:10] + NAME[:6] + NAME[6:14] + NAME[14:] + b"\xff" * 22
    entry = NAME + (7).to_bytes(8)

    assert _position(b"", NAME) == -1
    assert _position(astride, NAME) == -1
    assert _position(astride + entry, NAME) == len(astride) == 2 * _ENTRY_BYTES
