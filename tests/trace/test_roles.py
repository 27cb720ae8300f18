"""Roles are found by shape, and names are asked only where shapes cannot tell."""

import json
from dataclasses import replace

import numpy as np
import pytest
from trace_made import hf_tensors, made, print_of, save, words

from headwater.trace.agree import agree
from headwater.trace.roles import find_roles
from headwater.weights.header import Header, Tensor


def header(shapes):
    tensors, at = [], 0
    for name, shape in shapes:
        size = 2 * int(np.prod(shape))
        tensors.append(Tensor(name, "BF16", tuple(shape), at, at + size))
        at += size
    return Header("safetensors", {}, tuple(tensors))


def layers(count, shapes):
    return [(f"model.layers.{n}.{name}", shape) for n in range(count) for name, shape in shapes]


LLAMA = [("mlp.down_proj.weight", (64, 172)), ("mlp.gate_proj.weight", (172, 64)), ("mlp.up_proj.weight", (172, 64)),
         ("self_attn.q_proj.weight", (64, 64)), ("self_attn.k_proj.weight", (16, 64)),
         ("self_attn.v_proj.weight", (16, 64)), ("self_attn.o_proj.weight", (64, 64)),
         ("input_layernorm.weight", (64,)), ("post_attention_layernorm.weight", (64,))]
TABLE = [("model.embed_tokens.weight", (1000, 64))]


def names(matrices):
    return [matrix.tensor.name.rpartition("layers.")[2] for matrix in matrices]


def test_a_llama_with_grouped_queries_has_its_mlp_and_gain():
    roles = find_roles(header(TABLE + layers(3, LLAMA)), 1000)
    assert (roles.width, len(roles.layers), roles.found_by, roles.head) == (64, 3, "names", None)
    second = roles.layers[1]
    assert names(second.gates + second.ups + second.downs) == [
        "1.mlp.gate_proj.weight", "1.mlp.up_proj.weight", "1.mlp.down_proj.weight"]
    assert second.downs[0].shape == (172, 64)
    assert second.gain.name.endswith("1.post_attention_layernorm.weight")
    assert len(second.attention) == 4


def test_layers_come_in_the_order_of_their_numbers():
    roles = find_roles(header(TABLE + layers(12, LLAMA)), 1000)
    assert [layer.key for layer in roles.layers] == [f"model.layers.{n}" for n in range(12)]


def test_attention_wider_than_the_stream_is_not_taken_for_an_mlp():
    gemma = [("mlp.down_proj.weight", (64, 200)), ("mlp.gate_proj.weight", (200, 64)),
             ("mlp.up_proj.weight", (200, 64)), ("self_attn.q_proj.weight", (256, 64)),
             ("self_attn.o_proj.weight", (64, 256)),
             ("self_attn.k_proj.weight", (64, 64)), ("pre_feedforward_layernorm.weight", (64,)),
             ("post_attention_layernorm.weight", (64,))]
    layer = find_roles(header(TABLE + layers(2, gemma)), 1000).layers[0]
    assert layer.neurons == 200
    assert "pre_feedforward" in layer.gain.name


def test_fused_gate_up_is_split_and_fused_qkv_left_to_attention():
    phi = [("mlp.gate_up_proj.weight", (344, 64)), ("mlp.down_proj.weight", (64, 172)),
           ("self_attn.qkv_proj.weight", (192, 64)), ("self_attn.o_proj.weight", (64, 64))]
    layer = find_roles(header(TABLE + layers(2, phi)), 1000).layers[0]
    assert (layer.gates[0].span, layer.ups[0].span, layer.neurons) == ((0, 172), (172, 344), 172)
    assert [m.tensor.shape for m in layer.attention] == [(192, 64), (64, 64)]


def test_gpt2_is_stored_the_other_way_round():
    gpt2 = [("attn.c_attn.weight", (64, 192)), ("attn.c_proj.weight", (64, 64)), ("mlp.c_fc.weight", (64, 256)),
            ("mlp.c_proj.weight", (256, 64)), ("ln_2.weight", (64,)), ("ln_2.bias", (64,))]
    layer = find_roles(header([("wte.weight", (1000, 64)), *layers(2, gpt2)]), 1000).layers[0]
    assert names(layer.ups) == ["0.mlp.c_fc.weight"]
    assert layer.ups[0].columns and not layer.downs[0].columns and not layer.gates


def test_an_encoder_has_two_profiles_and_no_gain():
    bert = [("attention.self.query.weight", (64, 64)), ("intermediate.dense.weight", (256, 64)),
            ("output.dense.weight", (64, 256)), ("output.LayerNorm.weight", (64,)),
            ("attention.output.LayerNorm.weight", (64,))]
    tables = [("embeddings.word_embeddings.weight", (1000, 64)), ("embeddings.position_embeddings.weight", (512, 64))]
    roles = find_roles(header(tables + layers(2, bert)), 1000)
    assert roles.embedding.tensor.name == "embeddings.word_embeddings.weight"
    layer = roles.layers[0]
    assert not layer.gates and layer.gain is None and layer.neurons == 256


def test_experts_are_one_list_of_neurons_whichever_way_they_are_kept():
    apart = [(f"mlp.experts.{e}.{part}", shape) for e in range(4) for part, shape in
             (("gate_proj", (40, 64)), ("up_proj", (40, 64)), ("down_proj", (64, 40)))]
    shared = [("mlp.shared_expert.gate_proj", (80, 64)), ("mlp.shared_expert.up_proj", (80, 64)),
              ("mlp.shared_expert.down_proj", (64, 80)), ("mlp.gate.weight", (4, 64))]
    stacked = [("ffn_gate_exps", (4, 40, 64)), ("ffn_up_exps", (4, 40, 64)), ("ffn_down_exps", (4, 64, 40))]
    turned = [("experts.gate_up_proj", (4, 64, 80)), ("experts.down_proj", (4, 40, 64))]
    for shapes, neurons in ((apart, 160), (apart + shared, 240), (stacked, 160), (turned, 160),
                            (stacked + shared, 240)):
        layer = find_roles(header(TABLE + layers(2, shapes)), 1000).layers[0]
        assert layer.neurons == neurons
        assert sum(m.shape[0] for m in layer.gates) == sum(m.shape[0] for m in layer.downs) == neurons


MLA = [("self_attn.q_a_proj.weight", (24, 64)), ("self_attn.q_b_proj.weight", (96, 24)),
       ("self_attn.kv_a_proj_with_mqa.weight", (40, 64)), ("self_attn.kv_b_proj.weight", (128, 32)),
       ("self_attn.o_proj.weight", (64, 64)), ("input_layernorm.weight", (64,)),
       ("post_attention_layernorm.weight", (64,))]
"""DeepSeek-V2's and V3's latent attention; the compressed keys happen to have an expert's shape."""


def experts_of(count, shared):
    """Shapes of routed experts, their router, and shared experts of `shared` neurons, as DeepSeek names them."""
    parts = {"gate": (40, 64), "up": (40, 64), "down": (64, 40)}
    return [*((f"mlp.experts.{e}.{name}_proj.weight", shape) for e in range(count) for name, shape in parts.items()),
            *((f"mlp.shared_experts.{name}_proj.weight", tuple(shared if side == 40 else side for side in shape))
              for name, shape in parts.items()), ("mlp.gate.weight", (count, 64))]


@pytest.mark.parametrize("shared", [40, 80])
def test_latent_attention_is_no_expert_and_shared_experts_are_neurons_like_routed_ones(shared):
    dense = [(f"model.layers.0.{name}", shape) for name, shape in MLA + LLAMA[:3]]
    routed = [(f"model.layers.{n}.{name}", shape) for n in (1, 2) for name, shape in MLA + experts_of(4, shared)]
    roles = find_roles(header(TABLE + dense + routed), 1000)
    assert [layer.neurons for layer in roles.layers] == [172, 160 + shared, 160 + shared]
    for layer in roles.layers:
        assert sum(m.shape[0] for m in layer.gates) == sum(m.shape[0] for m in layer.downs) == layer.neurons
        assert not any("self_attn" in m.tensor.name for m in (*layer.gates, *layer.ups, *layer.downs))


def test_queries_and_keys_as_wide_as_what_goes_out_are_no_gated_mlp():
    wide = [("self_attn.q_proj.weight", (128, 64)), ("self_attn.k_proj.weight", (128, 64)),
            ("self_attn.v_proj.weight", (64, 64)), ("self_attn.o_proj.weight", (64, 128)), *LLAMA[:3]]
    assert find_roles(header(TABLE + layers(2, wide)), 1000).layers[0].neurons == 172


@pytest.mark.parametrize("shapes", [
    [("mlp.gate_proj.weight", (64, 64)), ("mlp.up_proj.weight", (64, 64)), ("mlp.down_proj.weight", (64, 64)),
     ("self_attn.q_proj.weight", (64, 64))],
    [("ffn_gate_exps.weight", (4, 64, 64)), ("ffn_up_exps.weight", (4, 64, 64)), ("ffn_down_exps.weight", (4, 64, 64)),
     ("attn_output.weight", (64, 64))]])
def test_an_mlp_as_wide_as_the_stream_is_told_by_its_names(shapes):
    layer = find_roles(header(TABLE + layers(2, shapes)), 1000).layers[0]
    assert shapes[0][0] in names(layer.gates + layer.ups)[0] and shapes[1][0] in names(layer.ups)[0]
    assert layer.neurons == sum(m.shape[0] for m in layer.downs) == 64 * (shapes[0][1][0] if len(shapes[0][1]) > 2
                                                                          else 1)


@pytest.mark.parametrize("tower", [
    [("vision_tower.layers.{}.fc1.weight", (96, 64)), ("vision_tower.layers.{}.fc2.weight", (64, 96))],
    [("v.blk.{}.ffn_up.weight", (96, 64)), ("v.blk.{}.ffn_down.weight", (64, 96))]])
def test_a_tower_as_wide_as_the_stream_is_passed_through(tower):
    shapes = [(name.format(n), shape) for n in range(3) for name, shape in tower]
    roles = find_roles(header(TABLE + layers(3, LLAMA) + shapes), 1000)
    assert [layer.neurons for layer in roles.layers] == [172] * 3
    assert roles.passed >= 6


def test_blocks_whose_attention_and_mlp_read_one_norm_have_its_gain():
    phi = [("self_attn.dense.weight", (64, 64)), ("mlp.fc1.weight", (256, 64)), ("mlp.fc2.weight", (64, 256)),
           ("input_layernorm.weight", (64,)), ("input_layernorm.bias", (64,))]
    assert find_roles(header(TABLE + layers(2, phi)), 1000).layers[0].gain.name.endswith("input_layernorm.weight")


def test_an_untied_head_is_told_from_the_embedding_by_name_or_place():
    shapes = [("lm_head.weight", (1000, 64)), *TABLE, *layers(2, LLAMA)]
    roles = find_roles(header(shapes), 1000)
    assert roles.embedding.tensor.name == "model.embed_tokens.weight"
    assert roles.head.tensor.name == "lm_head.weight"


def test_a_vision_tower_of_another_width_is_passed_through():
    tower = [(f"vision.layers.{n}.{name}", shape) for n in range(2) for name, shape in
             (("fc1.weight", (96, 48)), ("fc2.weight", (48, 96)))]
    roles = find_roles(header(TABLE + layers(2, LLAMA) + tower), 1000)
    assert len(roles.layers) == 2
    assert roles.passed >= 4


def test_an_adapter_is_its_low_rank_pairs():
    pairs = [(f"base_model.model.layers.{n}.q_proj.lora_{side}.weight", shape) for n in range(3)
             for side, shape in (("A", (8, 64)), ("B", (64, 8)))]
    roles = find_roles(header(pairs))
    assert len(roles.adapter) == 3
    assert all(a.shape == (8, 64) and b.shape == (64, 8) for a, b in roles.adapter)


# --- the same model in other dress


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    model = made(0)
    return model, print_of(save(tmp_path_factory.mktemp("plain"), hf_tensors(model), model.words))


def test_anonymous_names_in_file_order_still_tell_the_layers(plain, tmp_path):
    model, print_ = plain
    parts = ["q", "k", "v", "o", "gate", "up", "down"]
    tensors = {"t000": model.embed}
    for layer in model.layers:
        tensors |= {f"t{len(tensors) + k:03}": layer[part] for k, part in enumerate(parts)}
    other = print_of(save(tmp_path, tensors, model.words))
    assert other.architecture.found_by == "order"
    found = agree(print_, other)
    assert found.median > 0.85  # the gains are not known without norms
    assert list(found.matches) == [0, 1, 2, 3]


def test_fused_and_stacked_forms_agree_with_the_plain_one(plain, tmp_path):
    model, print_ = plain
    tensors = hf_tensors(model)
    for n, layer in enumerate(model.layers):
        for part in ("gate_proj", "up_proj", "down_proj"):
            del tensors[f"model.layers.{n}.mlp.{part}.weight"]
        halves = [slice(0, 128), slice(128, 256)]
        gate_up = [np.concatenate([layer["gate"][h], layer["up"][h]]) for h in halves]
        down = [layer["down"][:, h] for h in halves]
        if n < 2:  # two experts, each of half the neurons, stored as (in, out)
            tensors[f"model.layers.{n}.mlp.experts.gate_up_proj"] = np.stack([m.T for m in gate_up])
            tensors[f"model.layers.{n}.mlp.experts.down_proj"] = np.stack([m.T for m in down])
        else:
            tensors[f"model.layers.{n}.mlp.gate_up_proj.weight"] = np.concatenate([layer["gate"], layer["up"]])
            tensors[f"model.layers.{n}.mlp.down_proj.weight"] = layer["down"]
    assert agree(print_, print_of(save(tmp_path, tensors, model.words))).median > 0.98


def test_a_copy_as_a_mixture_of_latent_attention_agrees_with_the_dense_model_it_was_split_from(plain, tmp_path):
    model, print_ = plain
    tensors = {"model.embed_tokens.weight": model.embed}
    rng = np.random.default_rng(8)
    for n, layer in enumerate(model.layers):
        stem = f"model.layers.{n}"
        tensors |= {f"{stem}.self_attn.{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in (
            ("q_a_proj", (64, 96)), ("q_b_proj", (144, 64)), ("kv_a_proj_with_mqa", (64, 96)), ("kv_b_proj", (192, 48)),
            ("o_proj", (96, 96)))}
        tensors[f"{stem}.post_attention_layernorm.weight"] = layer["norm2"]
        for e, part in enumerate(np.split(np.arange(256), 4)):
            where = f"{stem}.mlp.experts.{e}" if e < 3 else f"{stem}.mlp.shared_experts"
            tensors |= {f"{where}.gate_proj.weight": layer["gate"][part], f"{where}.up_proj.weight": layer["up"][part],
                        f"{where}.down_proj.weight": layer["down"][:, part]}
    assert agree(print_, print_of(save(tmp_path, tensors, model.words))).median > 0.98


def test_a_model_stored_the_other_way_round_agrees_with_the_plain_one(tmp_path):
    model = made(3)
    tensors = {"wte.weight": model.embed}
    for n, layer in enumerate(model.layers):
        tensors |= {f"h.{n}.attn.c_attn.weight": np.concatenate([layer["q"]] * 3).T,
                    f"h.{n}.mlp.c_fc.weight": layer["up"].T, f"h.{n}.mlp.c_proj.weight": layer["down"].T,
                    f"h.{n}.ln_2.weight": layer["norm2"]}
    turned = print_of(save(tmp_path / "a", tensors, model.words))
    plain = {name: array.T if name.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight")) else array
             for name, array in tensors.items()}
    found = agree(turned, print_of(save(tmp_path / "b", plain, model.words)))
    assert found.median == 1


def test_shards_make_the_same_fingerprint_as_one_file(plain, tmp_path):
    model, print_ = plain
    tensors = hf_tensors(model)
    halves = [dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])]
    weight_map = {}
    for number, half in enumerate(halves, 1):
        save(tmp_path, half, model.words)
        name = f"model-0000{number}-of-00002.safetensors"
        (tmp_path / "model.safetensors").rename(tmp_path / name)
        weight_map |= dict.fromkeys(half, name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    other = print_of(tmp_path)
    assert np.array_equal(other.tensors, print_.tensors)
    assert all(np.array_equal(a.gate, b.gate) and np.array_equal(a.up, b.up)
               for a, b in zip(other.layers, print_.layers, strict=True))


def test_a_gated_and_a_plain_model_have_no_profiles_to_compare(plain, tmp_path):
    model, print_ = plain
    ungated = replace(model, layers=[{k: v for k, v in y.items() if k != "gate"} for y in model.layers])
    tensors = {name: array for name, array in hf_tensors(ungated).items()}
    other = print_of(save(tmp_path, tensors, words(3000)))
    assert other.architecture.form == "plain"
    assert agree(print_, other).median is None
