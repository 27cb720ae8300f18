"""The Xet codec. Witnesses: the vectors published with the reference implementation, and the hf_xet client itself,
which writes real xorbs and shards into a folder when its endpoint is local://."""

import hashlib
import struct
import warnings
from pathlib import Path

import hf_xet
import lz4.frame
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from xet_made import TAG, File, grouped4, packed_chunk, shard, xorb

from headwater.core.errors import BadInput, CorruptFile
from headwater.hub import xet_format as xf

# --- hashes, against published vectors

NODES = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
    "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
    "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
    "adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784",
    "4ac202caf347fc1e9c874b1ef6a1c5e619141eb775a6f43f0f0124ccd0060d9e",
    "b3b28636f65c149ea52eb1f94669466f70f033b54cea792824c696ba6ef3c389",
    "0e2c1a002aae913d2c0fc8ddfa4e9e14b7b311b3b0d458726d5d9f6a6318013c",
]
VECTORS = [  # nodes (each i hundred bytes long), xorb hash, file hash
    ([1], "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
     "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661"),
    ([1, 2, 3], "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
     "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715"),
    ([1, 2, 1, 2, 3, 4], "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
     "91d21684db364c8883ab8209fa5eb2e781cf07f37e1fa43e731c30839afe422f"),
    ([0, 1, 0, 1, 0], "f36c6a6374a567efd36ed087aeb680b57e3af4e0b5b8e7be2593df4cb647a2de",
     "ab2f46d31855e1133b3b5b70e78f841394a648710a208923b221c1a8a0572a1f"),
    ([1, 0], "e8660f81494ca836a58e395c1395ef97870ed71e2b113eec1fab6b3361f46dd6",
     "274d92f7e2acebaa2b8d63c0b5e7a4fc15814a606e3e3825d55609e671bcc5d9"),
    ([3, 4, 5, 5, 5], "2c1fd1eca47e284512fcb40fcf45a1874939f9b91c774d46aeba5d004d9d263d",
     "0799ba7ee2c3fed173a8e8d832cd13970ddc16070ffbc8aa6dcd77476f66dc73"),
    (list(range(8)), "f62abe77e3fb9c954fe52b0028027ddc90c064c45951a4fd2211d87e5c0011db",
     "d1b068be5bbdb38992269e8efe61f601881e39f7a7585fd76883cc6ea5c23b44"),
    ([i % 8 for i in range(64)], "6554007c9b5d0a5e7918f79596a1b68815c1407535585435f5735db761f21b88",
     "a8640ab81d48854e00078e12b1ea8be5d90be0ffb5f73a15b7009981d093ddd8"),
    ([1] * 32, "0a0123c1617921883b7e13902095fcb86676e77c49120c33b233003b0af0e0a6",
     "53af4711fd1d5e5bdc7f931b6be932314d8d673cb16ad2482f6f5222eaf9e63d"),
    ([*range(8), 1, 1, 1, 1], "e7fc30b73ec9930593f80fe777b334e9d3bb73e45e6a79fa5784b2603446158b",
     "69e1af2fd6023ce133e0d1b90e32d1d42ef79f5a710f2b0accfc3a735e98de9d"),
    ([i // 2 for i in range(16)], "636c65db520ec16e8166f9ec7a0cf9f74b26369077ac60160ec0221c86bc9f77",
     "6a90ad0d6f5246ac61f1de898c6944c03e14004a1368e6fb23387108c4d039e0"),
]


def test_a_hash_is_printed_as_four_little_endian_numbers():
    text = "0706050403020100" "0f0e0d0c0b0a0908" "1716151413121110" "1f1e1d1c1b1a1918"  # the specification's example
    assert xf.hash_text(bytes(range(32))) == text
    assert xf.hash_value(text) == bytes(range(32))


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "A" * 64, "0" * 63 + "é", "0" * 65])
def test_a_hash_that_is_none_is_refused(text: str):
    with pytest.raises(BadInput, match="no Xet hash"):
        xf.hash_value(text)


@pytest.mark.parametrize(("nodes", "of_xorb", "of_file"), VECTORS)
def test_merkle_roots_are_those_published(nodes: list[int], of_xorb: str, of_file: str):
    chunks = xf.Chunks(b"".join(xf.hash_value(NODES[i]) for i in nodes), np.array([100 * i for i in nodes], np.uint32))
    assert xf.hash_text(xf.xorb_hash(chunks)) == of_xorb
    assert xf.hash_text(xf.file_hash([chunks])) == of_file


def test_nothing_hashes_to_zeros():
    assert xf.Merkle().root() == xf.file_hash([]) == bytes(32)


@given(st.integers(0, 400), st.lists(st.integers(1, 60), max_size=20), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_tree_has_the_same_root_however_its_chunks_come(count: int, cuts: list[int], seed: int):
    rng = np.random.default_rng(seed)
    chunks = xf.Chunks(rng.bytes(32 * count), rng.integers(1, 1 << 17, count).astype(np.uint32))
    tree, at = xf.Merkle(), 0
    for cut in cuts:
        tree.add(chunks.part(at, min(at + cut, count)))
        at = min(at + cut, count)
    tree.add(chunks.part(at, count))
    assert tree.root() == xf.xorb_hash(chunks) == plain_root(chunks)


def plain_root(chunks: xf.Chunks) -> bytes:
    """The specification's way, level by level over whole lists."""
    level = [(chunks.hashes[32 * i:32 * i + 32], int(size)) for i, size in enumerate(chunks.sizes)]
    while len(level) > 1:
        above = []
        while level:
            end = next((i + 1 for i in range(2, min(9, len(level)))
                        if int.from_bytes(level[i][0][24:], "little") % 4 == 0), min(9, len(level)))
            lines = "".join(f"{xf.hash_text(value)} : {size}\n" for value, size in level[:end])
            node = blake3(lines.encode(), key=bytes(NODE_KEY)).digest()
            above.append((node, sum(size for _, size in level[:end])))
            level = level[end:]
        level = above
    return level[0][0] if level else bytes(32)


NODE_KEY = [1, 126, 197, 199, 165, 71, 41, 150, 253, 148, 102, 102, 180, 138, 2, 230,
            93, 221, 83, 111, 55, 199, 109, 210, 248, 99, 82, 230, 74, 83, 113, 63]


# --- the client's own xorbs and shards


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[str], Path]:
    """(contents, their Xet hashes as the client tells them, the folder it wrote)"""
    folder = tmp_path_factory.mktemp("oracle")
    rng = np.random.default_rng(7)
    contents = [
        rng.bytes(3_000_000),  # does not pack: scheme 0
        (rng.standard_normal(400_001) * 0.02).astype("<f4").tobytes() + b"abc",  # floats, odd length: scheme 2
        b"a river has a source\n" * 20_000,  # text: scheme 1
        b"tiny",
    ]
    paths = []
    for i, data in enumerate(contents):
        paths.append(str(folder / f"{i}.bin"))
        Path(paths[-1]).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the plainest way in, and present in every version
        answers = hf_xet.upload_files(paths, f"local://{folder}/cas", None, None, None, "model")
    return contents, [answer.hash for answer in answers], folder / "cas" / "xet" / "xorbs"


def unpacked(body: bytes, value: bytes, piece: int) -> tuple[bytes, xf.Chunks]:
    decoder, out = xf.XorbDecoder(), bytearray()
    for start in range(0, len(body), piece):
        for chunk in decoder.feed(body[start:start + piece]):
            out += chunk
    return bytes(out), decoder.finish(value)


@pytest.mark.parametrize("piece", [1 << 20, 40_001])
def test_files_the_client_wrote_come_out_whole_and_every_hash_agrees(written: tuple, piece: int):
    contents, hashes, folder = written
    store = {}
    for path in (folder / "xorbs").glob("default.*"):
        if path.suffix != ".tagset":
            value = xf.hash_value(path.name.removeprefix("default."))
            store[value] = unpacked(path.read_bytes(), value, piece)
    found = {}
    for path in (folder / "shards").glob("*.mdb"):
        made = xf.Shard(path.read_bytes())
        for value, chunks in made.xorbs():
            assert chunks.hashes == store[value][1].hashes
            assert np.array_equal(chunks.sizes, store[value][1].sizes)
        for file in made.files():
            parts, data = [], b""
            for segment in file.segments:
                raw, chunks = store[segment.xorb]
                part, offsets = chunks.part(segment.start, segment.stop), chunks.offsets
                assert xf.range_hash(part.hashes) == segment.proof
                data += raw[offsets[segment.start]:offsets[segment.stop]]
                parts.append(part)
            assert xf.file_hash(parts) == file.hash
            assert hashlib.sha256(data).hexdigest() == file.sha256
            assert len(data) == file.size
            found[xf.hash_text(file.hash)] = data
    assert [found[value] for value in hashes] == contents


def test_the_client_uses_all_three_ways_of_packing(written: tuple):
    """Else the test above would prove less than it seems to."""
    schemes = set()
    for path in (written[2] / "xorbs").glob("default.*"):
        data, at = path.read_bytes(), 0
        while path.suffix != ".tagset" and at < len(data) and data[at:at + 7] != b"XETBLOB":
            schemes.add(data[at + 4])
            at += 8 + int.from_bytes(data[at + 1:at + 4], "little")
    assert schemes == {0, 1, 2}


# --- xorbs that lie

GOOD = xorb(9000, 20_000, 100)


def refusal(body: bytes, value: bytes = GOOD.hash) -> str:
    with pytest.raises(CorruptFile) as caught:
        unpacked(body, value, 1 << 20)
    return str(caught.value)


@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_a_xorb_made_by_hand_is_read_in_every_scheme(scheme: int):
    raw, chunks = unpacked(GOOD.body(scheme), GOOD.hash, 1000)
    assert raw == b"".join(GOOD.pieces)
    assert len(chunks) == 3


def test_a_xorb_with_another_hash_than_its_address_is_refused():
    assert "as its address says" in refusal(GOOD.body(), xorb(5).hash)


def test_one_flipped_byte_is_found():
    body = bytearray(GOOD.body(0))
    body[5000] ^= 1
    assert "as its address says" in refusal(bytes(body))


def test_a_xorb_that_ends_early_is_refused_with_the_chunk_it_ends_in():
    assert "inside chunk 2" in refusal(GOOD.body(0)[:-1])


def test_an_empty_xorb_is_refused():
    assert "holds no chunk" in refusal(b"")


def test_an_lz4_bomb_is_cut_at_the_size_its_header_tells():
    bomb = lz4.frame.compress(bytes(30 << 20))
    assert len(bomb) < xf.PACKED_MAX
    header = b"\0" + len(bomb).to_bytes(3, "little") + b"\1" + (1000).to_bytes(3, "little")
    assert "1,001 bytes or more, not 1,000" in refusal(header + bomb)


def test_a_chunk_larger_than_128_kib_is_refused():
    assert "131,072 are allowed" in refusal(packed_chunk(bytes(xf.CHUNK_MAX + 1), 1))


def test_a_chunk_of_no_bytes_is_refused():
    assert "claims 0 bytes" in refusal(packed_chunk(b""))


def test_an_unknown_scheme_and_version_are_refused():
    body = bytearray(packed_chunk(b"abc"))
    body[4] = 3
    assert "scheme 3" in refusal(bytes(body))
    assert "version 9" in refusal(packed_chunk(b"abc", version=9))


def test_bytes_after_the_lz4_frame_of_a_chunk_are_refused():
    frame = lz4.frame.compress(b"abc") + b"more"
    assert "does not end where" in refusal(b"\0" + len(frame).to_bytes(3, "little") + b"\1\3\0\0" + frame)


def test_what_is_no_lz4_is_refused():
    assert "no LZ4 frame" in refusal(b"\0\x08\0\0\1\3\0\0" + b"nonsense")


def test_a_xorb_unpacking_to_more_than_64_mib_is_refused():
    chunk = packed_chunk(bytes(xf.CHUNK_MAX), 1)
    assert "67,108,864 bytes" in refusal(chunk * 513)


def test_a_xorb_of_more_than_8192_chunks_is_refused():
    assert "more than 8,192 chunks" in refusal(packed_chunk(b"x") * 8193)


def test_a_footer_is_read_past_and_must_agree():
    good = xf.hash_value(GOOD.text)
    footer = b"XETBLOB\1" + good + bytes(60)
    footer += struct.pack("<I", len(footer))
    raw, _ = unpacked(GOOD.body(0) + footer, good, 777)
    assert raw == b"".join(GOOD.pieces)
    assert "another hash" in refusal(GOOD.body(0) + footer.replace(good, bytes(32)))
    assert "not as long" in refusal(GOOD.body(0) + footer[:-4] + b"\0\0\0\0")
    assert "version 7" in refusal(GOOD.body(0) + footer.replace(b"XETBLOB\1", b"XETBLOB\7"))


@given(st.binary(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_either_a_xorb_or_refused(data: bytes):
    with pytest.raises(CorruptFile):
        unpacked(data, bytes(32), 97)


@given(st.binary(max_size=300))
def test_byte_grouping_is_undone(data: bytes):
    assert bytes(xf.ungroup4(grouped4(data))) == data


# --- shards that lie

FILE = File(((GOOD, 0, 2), (GOOD, 2, 3)))


def test_a_shard_made_by_hand_says_what_was_put_in():
    made = xf.Shard(shard([FILE], [GOOD]))
    (file,) = made.files()
    assert (file.sha256, file.size, len(file.segments)) == (FILE.sha256, 29_100, 2)
    ((value, chunks),) = made.xorbs()
    assert value == GOOD.hash
    assert chunks.hashes == GOOD.chunks.hashes


def no_shard(data: bytes) -> str:
    with pytest.raises(CorruptFile) as caught:
        list(xf.Shard(data).files())
    return str(caught.value)


def test_a_shard_without_its_tag_is_refused():
    assert "does not begin with" in no_shard(b"HFRepoMetaData" + bytes(100))


def test_a_shard_of_another_version_is_refused():
    assert "version 3" in no_shard(TAG + struct.pack("<QQ", 3, 0) + bytes(200))


def test_a_count_larger_than_the_shard_is_refused_before_anything_is_made_of_it():
    assert "4,294,967,295 entries" in no_shard(shard([File(FILE.parts, (("count", 0xFFFFFFFF),))]))
    assert "4,294,967,295 entries" in no_shard(shard([FILE], [GOOD], count=0xFFFFFFFF))


def test_a_list_without_its_bookend_is_refused():
    whole = shard([FILE], [GOOD])
    assert "xorbs has no end" in no_shard(whole[:-48])
    assert "files has no end" in no_shard(shard([])[:48])


def test_a_segment_of_no_chunks_is_refused():
    assert "which is none" in no_shard(shard([File(FILE.parts, (("stop", 0),))]))


@pytest.mark.parametrize("flags", [0, 1 << 31, 1 << 30])
def test_a_file_without_sha256_or_proofs_is_refused(flags: int):
    data = shard([File(((GOOD, 0, 1),), (("flags", flags),))])
    data = data[:48 * (1 + 1 + 1 + bin(flags).count("1"))] + data[48 * 5:]
    with pytest.raises(BadInput, match="without sha256 or range hashes"):
        list(xf.Shard(data).files())


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_shard_is_refused_or_read_but_never_anything_else(data: st.DataObject):
    whole = bytearray(shard([FILE, File(((GOOD, 1, 3),))], [GOOD]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(32, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[:data.draw(st.integers(0, len(whole)))])
    try:
        made = xf.Shard(cut)
        list(made.files())
        list(made.xorbs())
    except BadInput:
        pass


def test_chunks_know_where_they_begin():
    part = GOOD.chunks.part(1, 3)
    assert part.hashes == GOOD.chunks.hashes[32:]
    assert list(part.offsets) == [0, 20_000, 20_100]
