"""The Merkle tree of RFC 6962 (RFC 9162 §2.1): growing it, its root, proofs out of it, and their verification. Pure.

A tree of `size` leaves is kept as the hashes of its *complete* subtrees, each named (level, index): leaf n is (0, n),
and (level, index) covers the leaves index·2^level up to (index+1)·2^level. A complete subtree never changes again, so
these hashes are only ever added to. Of an unfinished tree one needs to know no more than its *peaks*, the largest
complete subtrees side by side, to let it grow: one for each bit of its size, the largest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

# Returns the hash of the complete subtree (level, index).
Node = Callable[[int, int], bytes]


class BadProofError(ValueError):
    """A proof does not prove what it was given for; the message says where it fails."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A tree as far as growing needs it. `added` holds, by level, the complete subtrees that the last growth finished.

    Of a level they stand side by side: `added[level]` is the index of the first, and their hashes in order.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()
    added: dict[int, tuple[int, list[bytes]]] = field(default_factory=dict, compare=False)

    @property
    def root(self) -> bytes:
        """The root hash of all leaves."""
        if not self.peaks:
            return EMPTY_ROOT
        *left, root = self.peaks
        for peak in reversed(left):
            root = node_hash(peak, root)
        return root

    def grown(self, leaves: Sequence[bytes]) -> Tree:
        """Return the tree with `leaves` (leaf hashes) appended, and which subtrees that completed."""
        size, peaks = self.size, list(self.peaks)
        added: dict[int, tuple[int, list[bytes]]] = {}
        for leaf in leaves:
            level, index, node = 0, size, leaf
            while True:
                added.setdefault(level, (index, []))[1].append(node)
                if not index & 1:
                    break
                node = node_hash(peaks.pop(), node)
                level, index = level + 1, index >> 1
            peaks.append(node)
            size += 1
        return Tree(size=size, peaks=tuple(peaks), added=added)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def entry_hash(entry: bytes) -> bytes:
    """Return the leaf hash of a log's entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def leaf_of(*, payload: bytes, salt: bytes) -> bytes:
    """Return the leaf of a record: the log's entry is the salted commitment to its payload."""
    return entry_hash(hashlib.sha256(salt + payload).digest())


def root_at(size: int, *, node: Node) -> bytes:
    """Return the root that the tree had at `size`."""
    return _span(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(*, index: int, size: int, node: Node) -> list[bytes]:
    """Return the path from leaf `index` to the root of the tree of `size` leaves, the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _largest_power_below(high - low)
        if index < middle:
            path.append(_span(middle, high, node))
            high = middle
        else:
            path.append(_span(low, middle, node))
            low = middle
    return path[::-1]


def consistency_proof(*, old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of `new` leaves begins with that of `old`; empty where nothing is to show."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves was never one of {old}")
    path: list[bytes] = []
    if old in {0, new}:
        return path
    low, high, whole = 0, new, True
    while high != old:
        middle = low + _largest_power_below(high - low)
        if old <= middle:
            path.append(_span(middle, high, node))
            high = middle
        else:
            path.append(_span(low, middle, node))
            low, whole = middle, False
    if not whole:
        path.append(_span(low, high, node))
    return path[::-1]


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `BadProofError` unless `proof` shows `leaf` at `index` in the tree of `root` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        raise BadProofError(f"leaf {index} lies outside a tree of {size}")
    fn, sn, found = index, size - 1, leaf
    for step in proof:
        if sn == 0:
            raise BadProofError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            found = node_hash(step, found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, step)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise BadProofError("the inclusion proof is too short")
    if found != root:
        raise BadProofError("the inclusion proof leads to another root")


def verify_consistency(  # noqa: PLR0912 - the RFC's own steps, in its order
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `BadProofError` unless `proof` shows that the new tree begins with the old one (RFC 9162 §2.1.4.2)."""
    if not 0 <= old <= new:
        raise BadProofError(f"a tree of {new} leaves was never one of {old}")
    if old in {0, new}:
        if proof or old_root != (new_root if old == new else EMPTY_ROOT):
            raise BadProofError("there is nothing to prove, and yet the roots or the proof say otherwise")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise BadProofError("the consistency proof is too short")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for step in path[1:]:
        if sn == 0:
            raise BadProofError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise BadProofError("the consistency proof is too short")
    if first != old_root:
        raise BadProofError("the consistency proof leads to another old root")
    if second != new_root:
        raise BadProofError("the consistency proof leads to another new root")


def asked_for(make: Callable[[Node], object]) -> set[tuple[int, int]]:
    """Return which subtrees `make` would ask a `Node` for, so that a store can be asked for all of them at once."""
    wanted: set[tuple[int, int]] = set()

    def note(level: int, index: int) -> bytes:
        wanted.add((level, index))
        return bytes(HASH_BYTES)

    make(note)
    return wanted


def joined(hashes: Sequence[bytes]) -> bytes:
    """Return hashes as one string of bytes, as they are stored."""
    return b"".join(hashes)


def split(stored: bytes) -> tuple[bytes, ...]:
    """Return the hashes that `joined` put together; a rest that is no hash stands last, and matches none."""
    return tuple(_pieces(stored))


def _pieces(stored: bytes) -> Iterator[bytes]:
    for place in range(0, len(stored), HASH_BYTES):
        yield stored[place : place + HASH_BYTES]


def _largest_power_below(count: int) -> int:
    """Return the largest power of two smaller than `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _span(low: int, high: int, node: Node) -> bytes:
    """Return the hash over the leaves from `low` up to `high`, out of complete subtrees."""
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, low >> level)
    middle = low + _largest_power_below(count)
    return node_hash(_span(low, middle, node), _span(middle, high, node))
