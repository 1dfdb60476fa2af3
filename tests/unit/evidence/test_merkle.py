"""The tree agrees with the RFC's own words for every size, proofs prove, and nothing else passes for a proof."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.evidence import merkle
from tests.support import naive_merkle as naive

MOST = 200
ENTRIES = [b"entry %d" % number for number in range(MOST)]
LEAVES = [merkle.entry_hash(entry) for entry in ENTRIES]

# The entries and roots that Certificate Transparency's implementations test themselves with (RFC 6962).
CT_ENTRIES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a test's choices, to be had again


@lru_cache(maxsize=1)
def stored() -> dict[tuple[int, int], bytes]:
    """Return every complete subtree, as a tree that grows by uneven steps leaves them."""
    nodes: dict[tuple[int, int], bytes] = {}
    tree, dice = merkle.Tree(), dice_of(6962)
    while tree.size < MOST:
        tree = tree.grown(LEAVES[tree.size : tree.size + dice.choice((1, 1, 2, 3, 7, 20))])
        for level, (first, hashes) in tree.added.items():
            for place, node in enumerate(hashes):
                assert (level, first + place) not in nodes, "a node is completed once"
                nodes[level, first + place] = node
    return nodes


def node(level: int, index: int) -> bytes:
    return stored()[level, index]


@pytest.mark.parametrize("size", range(len(CT_ROOTS)))
def test_roots_are_those_that_certificate_transparency_knows(size: int) -> None:
    tree = merkle.Tree().grown([merkle.entry_hash(entry) for entry in CT_ENTRIES[:size]])
    assert tree.root.hex() == CT_ROOTS[size]
    assert naive.mth(CT_ENTRIES[:size]).hex() == CT_ROOTS[size], "the oracle, too"


@pytest.mark.parametrize("size", range(MOST + 1))
def test_roots_agree_with_the_rfc_however_the_tree_grew(size: int) -> None:
    root = naive.mth(ENTRIES[:size])
    assert merkle.root_at(size, node=node) == root
    half = merkle.Tree().grown(LEAVES[: size // 2])
    grown = half.grown(LEAVES[size // 2 : size])
    assert (grown.size, grown.root) == (size, root)
    assert len(grown.peaks) == size.bit_count()


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_inclusion_proofs_agree_with_the_rfc_and_verify(size: int) -> None:
    root = naive.mth(ENTRIES[:size])
    for index in {0, size - 1, size // 2, *dice_of(size).sample(range(size), min(size, 5))}:
        proof = merkle.inclusion_proof(index=index, size=size, node=node)
        assert proof == naive.path(index, ENTRIES[:size])
        merkle.verify_inclusion(leaf=LEAVES[index], index=index, size=size, proof=proof, root=root)


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_consistency_proofs_agree_with_the_rfc_and_verify(new: int) -> None:
    root = naive.mth(ENTRIES[:new])
    for old in {1, new // 2 or 1, new, *dice_of(new).sample(range(1, new + 1), min(new, 4))}:
        proof = merkle.consistency_proof(old=old, new=new, node=node)
        assert proof == ([] if old == new else naive.proof(old, ENTRIES[:new]))
        merkle.verify_consistency(old=old, new=new, old_root=naive.mth(ENTRIES[:old]), new_root=root, proof=proof)


sizes = st.integers(min_value=2, max_value=MOST)


@settings(max_examples=300, deadline=None)
@given(size=sizes, data=st.data())
def test_no_other_leaf_place_size_root_or_proof_passes(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    right: dict[str, Any] = {
        "leaf": LEAVES[index],
        "index": index,
        "size": size,
        "proof": merkle.inclusion_proof(index=index, size=size, node=node),
        "root": merkle.root_at(size, node=node),
    }
    merkle.verify_inclusion(**right)
    proof = right["proof"]
    place = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
    flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    for wrong in (
        {"leaf": bytes(32)},
        {"index": data.draw(st.sampled_from([each for each in range(size) if each != index]))},
        {"index": -1},
        {"index": size},
        {"root": bytes(32)},
        {"proof": proof[:-1]},
        {"proof": [*proof, bytes(32)]},
        {"proof": [*proof[:place], flipped, *proof[place + 1 :]]},
    ):
        with pytest.raises(merkle.BadProofError):
            merkle.verify_inclusion(**{**right, **wrong})


@settings(max_examples=300, deadline=None)
@given(new=sizes, data=st.data())
def test_no_other_history_passes_for_consistent(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(min_value=1, max_value=new - 1))
    right: dict[str, Any] = {
        "old": old,
        "new": new,
        "old_root": merkle.root_at(old, node=node),
        "new_root": merkle.root_at(new, node=node),
        "proof": merkle.consistency_proof(old=old, new=new, node=node),
    }
    merkle.verify_consistency(**right)
    proof = right["proof"]
    for wrong in (
        {"old_root": bytes(32)},
        {"new_root": bytes(32)},
        {"proof": proof[:-1]},
        {"proof": [*proof, bytes(32)]},
        {"proof": [bytes(32), *proof[1:]]},
        {"old": new + 1},
        {"old": new},
        {"old": 0},
    ):
        with pytest.raises(merkle.BadProofError):
            merkle.verify_consistency(**{**right, **wrong})


def test_a_tree_that_did_not_grow_needs_no_proof_and_takes_none() -> None:
    root = merkle.root_at(5, node=node)
    merkle.verify_consistency(old=5, new=5, old_root=root, new_root=root, proof=[])
    merkle.verify_consistency(old=0, new=5, old_root=merkle.EMPTY_ROOT, new_root=root, proof=[])
    for old, proof in ((5, [root]), (0, [root])):
        with pytest.raises(merkle.BadProofError, match="nothing to prove"):
            merkle.verify_consistency(old=old, new=5, old_root=root, new_root=root, proof=proof)


def test_what_a_proof_needs_is_known_before_it_is_made() -> None:
    wanted = merkle.asked_for(lambda node: merkle.inclusion_proof(index=3, size=7, node=node))
    assert wanted == {(0, 2), (1, 0), (1, 2), (0, 6)}
    with pytest.raises(ValueError, match="a tree of 7 leaves"):
        merkle.inclusion_proof(index=7, size=7, node=node)
    with pytest.raises(ValueError, match="a tree of 7 leaves"):
        merkle.consistency_proof(old=8, new=7, node=node)


def test_hashes_are_kept_side_by_side() -> None:
    assert merkle.split(merkle.joined(LEAVES[:3])) == tuple(LEAVES[:3])
    assert merkle.split(merkle.joined(LEAVES[:1]) + b"rest") == (LEAVES[0], b"rest")
