"""RFC 9162's Merkle tree in the words of the RFC: recursive, over all leaves, slow. Nothing of the plane's own is used.

§2.1.1 (MTH), §2.1.3.1 (PATH) and §2.1.4.1 (PROOF, SUBPROOF): what the quick implementation is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def split_at(n: int) -> int:
    """Return k, the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(entries: Sequence[bytes]) -> bytes:
    """Return the hash of the list of entries."""
    if not entries:
        return sha256().digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split_at(len(entries))
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """Return the inclusion proof of entry m."""
    if len(entries) == 1:
        return []
    k = split_at(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """Return the consistency proof from the first m entries to all of them, for 0 < m < n."""
    return subproof(m, entries, complete=True)


def subproof(m: int, entries: Sequence[bytes], *, complete: bool) -> list[bytes]:
    """Return SUBPROOF(m, D_n, b)."""
    n = len(entries)
    if m == n:
        return [] if complete else [mth(entries)]
    k = split_at(n)
    if m <= k:
        return [*subproof(m, entries[:k], complete=complete), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], complete=False), mth(entries[:k])]
