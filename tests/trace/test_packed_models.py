"""A trained model, packed as its uploaders pack it, is found to be the same model, and the packed one the later."""

import json
import subprocess
import sys

import numpy as np
import packed_made
import pytest
from safetensors.numpy import save
from trace_made import hf_tensors

from calibrate import text, tiny
from calibrate.disguise import in_whole, made_of, print_of_files
from headwater.core.errors import CorruptFile
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.make import MEMORY
from headwater.trace.null import NullLibrary
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.weights.source import BytesSource

NULL = NullLibrary.load()


def files_of(tensors, config=None):
    words = text.bodies()[0]
    files = {"model.safetensors": save({name: np.ascontiguousarray(array) for name, array in tensors.items()}),
             "vocab.json": json.dumps({word: n for n, word in enumerate(words)}).encode()}
    return files | ({"config.json": json.dumps(config).encode()} if config else {})


@pytest.fixture(scope="module")
def world():
    """Tensors of two models trained apart on the same text, their files in 16 bits, and their fingerprints."""
    bases, _ = tiny.train([tiny.begin(n) for n in range(2)], tiny.Course(40, ["source"] * 2, [1] * 2),
                          text.bodies()[1])
    tensors = [hf_tensors(made_of(base, text.bodies()[0])) for base in bases]
    plain = [files_of({name: array.astype(np.float16) for name, array in one.items()}) for one in tensors]
    return tensors, plain, [print_of_files(files) for files in plain]


def heard(width):
    """Inputs that go together, as a layer's do: what GPTQ makes up for."""
    rng, near = np.random.default_rng(width), np.subtract.outer(np.arange(width), np.arange(width))
    return rng.normal(size=(1024, width)) @ (rng.normal(size=(width, width)) * np.exp(-np.abs(near) / 6))


def scaled_for_awq(tensors):
    """What AWQ does before it packs: inputs that matter are made larger, and what comes before them smaller."""
    found, rng = dict(tensors), np.random.default_rng(3)
    for n in range(4):
        stem = f"model.layers.{n}."
        by = rng.uniform(0.5, 2, len(tensors[f"{stem}post_attention_layernorm.weight"])).astype(np.float32)
        found[f"{stem}post_attention_layernorm.weight"] = tensors[f"{stem}post_attention_layernorm.weight"] / by
        for name in ("gate", "up"):
            found[f"{stem}mlp.{name}_proj.weight"] = tensors[f"{stem}mlp.{name}_proj.weight"] * by
    return found


FORMS = {"gptq": packed_made.gptq, "awq": packed_made.awq, "nf4": packed_made.nf4, "int8": packed_made.int8,
         "mlx": packed_made.mlx, "compressed": packed_made.compressed}


@pytest.mark.parametrize("form", FORMS)
def test_a_packed_model_has_the_same_weights_and_comes_from_the_finer_one(world, form):
    tensors, plain, prints = world
    files = files_of(packed_made.packed(tensors[0], FORMS[form], embeddings=form == "mlx"))
    made = print_of_files(files)
    assert (made.architecture.form, made.architecture.layers, made.architecture.parameters) == (
        "gated", 4, prints[0].architecture.parameters)
    for one, two, direction in ((made, prints[0], "a-from-b"), (prints[0], made, "b-from-a")):
        found = judge(one, two, NULL)
        assert (found.verdict, found.direction, found.operation) == (Verdict.REENCODED, direction, "quantised"), \
            (found.says, found.direction_evidence)
    precision = next(e.figures for e in found.evidence if e.name == "precision")
    assert precision["lattice_a"] < 0.1
    assert precision["lattice_b"] < 0.1 if form == "int8" else precision["lattice_b"] > 0.9
    assert not judge(made, prints[1], NULL).verdict.kin
    deeper = in_whole(judge(made, prints[0], NULL), files, plain[0], 4, 4)
    assert (deeper.verdict, deeper.direction) == (Verdict.REENCODED, "a-from-b")


def test_inputs_scaled_for_awq_hide_nothing(world):
    tensors, _, prints = world
    made = print_of_files(files_of(packed_made.packed(scaled_for_awq(tensors[0]), packed_made.awq)))
    found = judge(made, prints[0], NULL)
    assert found.verdict.kin and found.operation == "quantised" and found.agreement > 0.8


def test_a_model_packed_with_its_errors_made_up_for_descends_and_is_quantised(world):
    tensors, plain, prints = world
    files = files_of(packed_made.packed(tensors[0], lambda name, array: packed_made.gptq(
        name, array, inputs=heard(array.shape[1]))))
    found = judge(print_of_files(files), prints[0], NULL)
    assert found.verdict in (Verdict.DESCENDS, Verdict.REENCODED) and found.operation == "quantised"
    assert found.direction != "b-from-a"
    for one, two, direction in ((files, plain[0], "a-from-b"), (plain[0], files, "b-from-a")):
        deeper = in_whole(judge(print_of_files(one), print_of_files(two), NULL), one, two, 4, 4)
        assert deeper.verdict.kin and deeper.direction == direction, deeper.says
        rounded = next(e for e in deeper.evidence if e.name == "rounded from")
        assert rounded.strength == "strong" and rounded.figures["share"] < 0.9


def widened(files):
    """A model's tensors, float32, whatever they are packed as."""
    with Reader(lambda name: BytesSource(files[name]), {name: len(data) for name, data in files.items()}) as reader:
        return {tensor.name: reader.rows(Matrix(tensor), np.arange(tensor.shape[0])) if len(tensor.shape) == 2
                else reader.vector(tensor) for tensor in reader.header.tensors}


@pytest.mark.parametrize(("form", "share"), [("gptq", 0.05), ("nf4", 0.03), ("mlx", 0.1), ("awq", 0.2)])
def test_a_model_trained_from_the_packed_one_is_not_taken_for_what_it_was_packed_from(world, form, share):
    packed, rng = files_of(packed_made.packed(world[0][0], FORMS[form])), np.random.default_rng(1)
    files = files_of({name: (array + rng.normal(size=array.shape) * array.std() * share * (array.ndim == 2)).astype(
        np.float16) for name, array in widened(packed).items()})
    found = in_whole(judge(print_of_files(packed), print_of_files(files), NULL), packed, files, 4, 4)
    assert found.verdict.kin and found.direction != "a-from-b", (found.direction, found.direction_evidence)
    assert next(e for e in found.evidence if e.name == "near the steps").figures["tensors"] <= 2
    if share <= 0.05:
        assert (found.verdict, found.direction) == (Verdict.DESCENDS, "b-from-a"), found.evidence


def test_a_packed_model_and_its_numbers_widened_to_16_bits_are_the_same_weights(world):
    packed = files_of(packed_made.packed(world[0][0], packed_made.nf4))
    wide = files_of({name: array.astype(np.float16) for name, array in widened(packed).items()})
    found = in_whole(judge(print_of_files(packed), print_of_files(wide), NULL), packed, wide, 4, 4)
    assert found.verdict is Verdict.REENCODED and found.agreement > 0.99, found.says


def test_two_packings_of_one_model_are_kin(world):
    tensors = world[0][0]
    packers = (packed_made.nf4, packed_made.awq)
    prints = [print_of_files(files_of(packed_made.packed(tensors, pack))) for pack in packers]
    assert judge(*prints, NULL).verdict.kin


@pytest.mark.parametrize(("part", "array"), [
    ("qweight", np.zeros((9, 256), np.int32)), ("scales", np.full((2, 256), np.nan, np.float16)),
    ("g_idx", np.full(64, 7, np.int32)), ("scales", np.zeros((64, 256), np.float16))])
def test_a_model_of_which_one_matrix_lies_cannot_be_read_and_the_matrix_is_named(world, part, array):
    tensors = packed_made.packed(world[0][0], packed_made.gptq)
    name = f"model.layers.2.mlp.gate_proj.{part}"
    with pytest.raises(CorruptFile, match=r"layers\.2\.mlp\.gate_proj"):
        print_of_files(files_of(tensors | {name: array}))


# --- what it costs

_CHILD = """
import sys
from pathlib import Path
from headwater.trace.make import make_fingerprint
from headwater.weights.source import FileSource, MappedSource, RangeSource

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

def far(path):
    source = FileSource(path)
    return RangeSource(source.size, source.read)

folder = Path(sys.argv[1])
source = {"MappedSource": MappedSource, "far": far}[sys.argv[2]]
before = peak()
made = make_fingerprint(lambda p: source(folder / p), {p.name: p.stat().st_size for p in folder.iterdir()})
print(peak() - before, made.architecture.neurons)
"""


def gptq_holes(out, width, group=128):
    return {"qweight": ("I32", [width // 8, out]), "qzeros": ("I32", [width // group, out // 8]),
            "scales": ("F16", [width // group, out]), "g_idx": ("I32", [width])}


def awq_holes(out, width, group=128):
    return {"qweight": ("I32", [width, out // 8]), "qzeros": ("I32", [width // group, out // 8]),
            "scales": ("F16", [width // group, out])}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("source", "holes"), [("MappedSource", gptq_holes), ("far", awq_holes)])
def test_a_wide_packed_model_is_read_within_the_bound_of_memory(tmp_path, source, holes):
    """One layer 8,192 wide of 12,288 neurons, packed; unpacked it would be 1.2 GB."""
    width, inner, vocabulary = 8192, 12_288, 4_000
    shapes = {"model.embed_tokens.weight": ("F16", [vocabulary, width])}
    for name, out, into in (("gate", inner, width), ("up", inner, width), ("down", width, inner)):
        shapes |= {f"model.layers.0.mlp.{name}_proj.{part}": told for part, told in holes(out, into).items()}
    header, at = {}, 0
    for name, (dtype, shape) in shapes.items():
        size = {"I32": 4, "F16": 2}[dtype] * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + at)
    words = {f"w{n}": n for n in range(vocabulary)}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    run = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path), source], capture_output=True, text=True,
                         check=True)
    grown, neurons = map(int, run.stdout.split())
    assert neurons == inner and grown < MEMORY
