"""The index finds kin among many, survives torn files, and answers a popular family as one."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prints_made import changed, print_made

from headwater.trace import index as index_file
from headwater.trace import index_tables
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.index import Candidate, Index
from headwater.trace.index_tables import Tables, distances, keys_of


def ids(found: list[Candidate], why: str = "neurons") -> list[int]:
    return [c.id for c in found if c.why == why]


@pytest.fixture(scope="module")
def thirty() -> list[Fingerprint]:
    return [print_made(n) for n in range(30)]


@pytest.fixture
def index(tmp_path, thirty):
    made = Index(tmp_path / "index")
    for number, one in enumerate(thirty):
        made.add(number + 1, 0.0, one)
    return made


def test_a_descendant_is_found_by_its_neurons_and_nothing_unrelated_is_voted_for(index, thirty):
    assert len(index) == 30
    for share in (0.0, 0.05, 0.1, 0.15):
        found = index.candidates(changed(thirty[7], share, 99))
        assert ids(found) == [8] and found[0].share > 0.05, share
    assert index.candidates(print_made(1000)) == []
    assert index.candidates(changed(thirty[7], 0.01, 99), without=[8]) == []


def test_the_parent_is_found_when_the_child_came_first(tmp_path, thirty):
    index = Index(tmp_path / "index")
    index.add(1, 0.0, changed(thirty[0], 0.1, 5))
    assert ids(index.candidates(thirty[0])) == [1]


def test_a_family_is_answered_by_its_head_and_its_nearest_members_and_does_not_drown_a_second_parent(tmp_path):
    index, base, other = Index(tmp_path / "index"), print_made(1), print_made(2)
    index.add(1, 0.0, base)
    members = {n: changed(base, 0.05, n) for n in range(10, 45)}
    for number, made in members.items():
        index.add(number, 0.0, made)
    index.add(500, 0.0, other)
    merged = replace(members[33], layers=changed(members[33], 0.02, 7).layers[:4] + other.layers[4:])
    found = ids(index.candidates(merged))
    assert set(found[:3]) == {500, 1, 33} and len(found) == 20
    assert index._tables.stop == 37 and sum(p.shape[1] for p in index._tables._tail) == 2 * 126  # two heads in it


def test_a_head_that_is_removed_goes_on_answering_for_its_family(tmp_path):
    index, base = Index(tmp_path / "index"), print_made(1)
    index.add(1, 0.0, base)
    index.add(2, 0.0, changed(base, 0.05, 2))
    index.remove([1])
    assert ids(index.candidates(changed(base, 0.05, 3))) == [2] and len(index) == 1
    index.remove([2, 3])
    assert index.candidates(base) == [] and len(index) == 0


def test_models_without_profiles_are_found_by_tensors_in_common_but_not_by_those_that_all_have(tmp_path):
    index, base = Index(tmp_path / "index"), replace(print_made(1), layers=())
    for number in range(100):
        mine = print_made(number).tensors
        index.add(number, 0.0, replace(base, tensors=np.sort(np.concatenate([[7], mine]).astype(np.uint64))))
    asked = np.sort(np.concatenate([[7], print_made(40).tensors[:5], print_made(9999).tensors]).astype(np.uint64))
    index._hashes = None
    found = index.candidates(replace(base, tensors=asked))
    assert ids(found, "tensors") == [40] and found[0].share == pytest.approx(5 / index_file.HASHES, abs=1e-3)
    assert index.candidates(replace(base, tensors=np.zeros(0, np.uint64))) == []


def test_the_newest_with_the_same_tokens_come_last(tmp_path):
    index = Index(tmp_path / "index")
    for number in range(5):
        index.add(number, 0.0, print_made(number, tokens="ab" * 16))
    found = index.candidates(changed(print_made(0, tokens="ab" * 16), 0.02, 3))
    assert [(c.id, c.why) for c in found] == [(0, "neurons"), (4, "tokens"), (3, "tokens"), (2, "tokens")]


def test_it_is_the_same_after_it_was_opened_again(index, thirty, tmp_path):
    asked = changed(thirty[3], 0.05, 1)
    before = index.candidates(asked)
    again = Index(tmp_path / "index")
    assert again.candidates(asked) == before and len(again) == 30


@pytest.mark.parametrize("name", ["records", "vectors", "about.json"])
@pytest.mark.parametrize("cut", [0.0, 0.4, 0.999])
def test_what_was_torn_is_left_out_and_put_in_again_from_the_fingerprints(name, cut, index, thirty, tmp_path):
    path = tmp_path / "index" / name
    os.truncate(path, int(path.stat().st_size * cut))
    again = Index(tmp_path / "index")
    assert len(again) < 30
    bodies = {n + 1: one.to_bytes() for n, one in enumerate(thirty)}
    put = again.sync(dict.fromkeys(bodies, 0.0), lambda wanted: {n: bodies[n] for n in wanted})
    assert put > 0 and len(again) == 30
    assert ids(again.candidates(changed(thirty[29], 0.05, 1))) == [30]


def test_a_flipped_bit_in_a_record_costs_no_more_than_what_follows_it(index, thirty, tmp_path):
    path = tmp_path / "index" / "records"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert 0 < len(Index(tmp_path / "index")) < 30


def test_another_version_of_fingerprints_empties_it(index, tmp_path, monkeypatch):
    monkeypatch.setattr(index_file.fingerprint, "VERSION", 10**6)
    assert len(Index(tmp_path / "index")) == 0


def test_sync_takes_out_what_is_gone_replaces_what_moved_and_bears_bodies_of_another_version(index, thirty):
    stamps = {n: 0.0 for n in range(2, 31)} | {5: 1.0, 77: 0.0, 78: 0.0}
    fresh = print_made(555)
    bodies = {5: fresh.to_bytes(), 77: b"HWTRACE1 of another time", 78: thirty[0].to_bytes()}
    told = []
    put = index.sync(stamps, lambda wanted: {n: bodies[n] for n in wanted}, lambda *point: told.append(point))
    assert put == 3 and told == [(3, 3)] and len(index) == 30
    assert ids(index.candidates(fresh)) == [5] and index.candidates(thirty[4]) == []
    assert ids(index.candidates(thirty[0])) == [78]


def test_segments_are_merged_and_answer_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(index_tables, "TAIL", 1000)
    index, made = Index(tmp_path / "index"), [print_made(n, layers=2) for n in range(40)]
    for number, one in enumerate(made):
        index.add(number, 0.0, one)
    files = sorted(p.name for p in (tmp_path / "index" / "tables").iterdir())
    assert 1 <= len(files) <= 4
    for opened in (index, Index(tmp_path / "index")):
        assert all(ids(opened.candidates(changed(one, 0.05, 3))) == [n] for n, one in enumerate(made))
    (tmp_path / "index" / "tables" / files[0]).unlink()  # as after a power cut between two renames
    assert ids(Index(tmp_path / "index").candidates(changed(made[0], 0.05, 3))) == [0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 60), st.floats(0, 0.2))
def test_tables_find_what_a_search_of_all_finds_where_a_key_is_in_common(seed, count, asking, share):
    import tempfile
    from pathlib import Path

    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 256, (count, index_tables.BYTES), np.uint8)
    asked = vectors[rng.integers(0, count, asking)]
    asked ^= np.packbits(rng.random((asking, index_tables.BYTES * 8)) < share, axis=1)
    with tempfile.TemporaryDirectory() as folder:
        tables = Tables(Path(folder) / "t", 0)
        tables.add(0, count, keys_of(vectors, np.arange(count)))
        found = set(tables.near(asked, vectors).tolist())
    stored, here = keys_of(vectors, np.arange(count)) >> 32, keys_of(asked, np.arange(asking)) >> 32
    common = (stored[:, :, None] == here[:, None, :]).any(0)
    near = distances(vectors[:, None], asked[None]) <= index_tables.NEAR
    assert found == set(np.flatnonzero((common & near).any(1)).tolist())


def test_neurons_that_are_all_zeros_or_one_constant_vote_for_nobody(tmp_path):
    index = Index(tmp_path / "index")
    for number, bits in enumerate((0, 255)):
        made = print_made(number)
        dull = tuple(replace(y, gate=np.full_like(y.gate, bits)) for y in made.layers)
        index.add(number, 0.0, replace(made, layers=dull))
        assert ids(index.candidates(replace(print_made(50), layers=dull))) == []


def test_a_question_among_two_thousand_takes_a_fraction_of_a_second(tmp_path):
    index, rng = Index(tmp_path / "index"), np.random.default_rng(0)
    records = np.zeros(2000, index_file._RECORD)
    records["id"], records["head"], records["count"] = np.arange(2000), np.arange(2000), index_file.VECTORS
    index.append(records, rng.integers(0, 256, (2000, index_file.VECTORS, index_tables.BYTES), np.uint8))
    base = print_made(3)
    index.add(9999, 0.0, base)
    asked = changed(base, 0.06, 1)
    index.candidates(asked)
    start = time.process_time()
    assert ids(index.candidates(asked)) == [9999]
    assert time.process_time() - start < 0.5
