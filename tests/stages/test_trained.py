"""Training with adapters: what a state holds, what stays as it was, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import LoRA, MeshConfig, OptimConfig
from r1jax.data import record_files
from r1jax.models import lora, presets, spec, transformer
from r1jax.models.config import MLA, MoE
from r1jax.stages import rl, trained
from r1jax.stages.context import Context, split_state
from r1jax.stages.run import run_experiment
from r1jax.stages.weights_of import load_weights
from r1jax.store import Store
from r1jax.train import optim
from tests.stages import test_reward_model, test_sft
from tests.stages.conftest import put_base

RANK2 = LoRA(rank=2)
MODEL = test_sft.MODEL  # one layer of width 16, two heads, one key head of 8, feed-forward of 32
ADAPTERS = 2 * (2 * (16 + 16) + 2 * (16 + 8) + 3 * (16 + 32))


def fine_tuning(**changes):
    chosen = test_sft.experiment(epochs=4)
    return replace(chosen, name="student", lora=RANK2, optim=replace(chosen.optim, learning_rate=0.1), **changes)


def filled(root, params=None):
    """test_sft's store, with an embedding (and head) large enough for a frozen one to tell words apart."""
    store = Store(root)
    small = spec.init(MODEL, jax.random.key(0))
    put_base(root, params or small | {"embed": 25 * small["embed"]})
    with store.begin("set", "micro", fingerprint="s", config={}) as artifact:
        record_files.write_all(artifact.path / "records", test_sft.ROWS)
        artifact.finish({})
    return store


def begun(experiment, store, devices=1, mesh=None):
    """What `start` gives on so many devices, with base@micro as the parent."""
    context = Context(make_mesh(mesh or MeshConfig(), jax.devices()[:devices]), None, store,
                      {"weights": store.get("base@micro")})
    return trained.start(experiment, context, optim.make(experiment.optim, 8))


def sizes(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def test_the_state_its_moments_and_its_checkpoint_hold_the_adapters_alone(tmp_path):
    store = filled(tmp_path)
    model, state, abstract, _ = begun(fine_tuning(), store)
    assert sizes(state.params) == ADAPTERS == 512
    assert sizes(state.opt_state) == 2 * ADAPTERS + 2  # two moments, the optimizer's count and the schedule's
    assert sizes(split_state(abstract)) == sizes(split_state(state)) == 3 * ADAPTERS + 4
    assert sizes(model.base) == spec.count(MODEL)


def test_frozen_matrices_are_in_the_compute_type_and_adapters_are_masters(tmp_path):
    store = filled(tmp_path)
    model, state, _, _ = begun(replace(fine_tuning(), model=replace(MODEL, dtype="bfloat16")), store)
    types = {name: x.dtype for name, x in model.base["layers"].items()}
    assert {name for name, dtype in types.items() if dtype == jnp.bfloat16} == {
        "q", "k", "v", "o", "gate", "up", "down"}
    assert model.base["embed"].dtype == jnp.bfloat16 and types["attn_norm"] == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert model.merged(state.params)["layers"]["q"].dtype == jnp.bfloat16


def test_without_adapters_everything_is_what_it_was(tmp_path):
    store = filled(tmp_path)
    model, state, _, _ = begun(replace(fine_tuning(), lora=None), store)
    assert model.merged(state.params) is model.forward(state.params) is state.params
    assert sizes(state.params) == spec.count(MODEL)


@pytest.mark.usefixtures("one_device")
def test_fine_tuning_learns_and_the_weights_stay_bit_for_bit(tmp_path, monkeypatch):
    store, kept = filled(tmp_path), []
    start = trained.start
    monkeypatch.setattr(trained, "start", lambda *arguments: kept.append(start(*arguments)) or kept[-1])
    before = store.get("base@micro").load_params(spec.abstract(MODEL))
    artifact = run_experiment(fine_tuning(), str(tmp_path))
    losses = [row["train/loss"] for row in artifact.metrics()]
    assert len(losses) == 16 and losses[-1] < 0.8 * losses[0]
    for after in (kept[0][0].base, store.get("base@micro").load_params(spec.abstract(MODEL))):
        jax.tree.map(np.testing.assert_array_equal, after, before)
    found = artifact.load_params(spec.tree_abstract(lora.specs(MODEL, RANK2)))
    assert set(found) == {"layers"}
    assert all(np.abs(pair["b"]).max() > 0 for pair in found["layers"].values())
    read = load_weights(store, artifact, make_mesh(MeshConfig(), jax.devices()[:1]))
    jax.tree.map(np.testing.assert_array_equal, read, kept[0][0].merged(found))  # what was examined is what is read


@pytest.mark.usefixtures("one_device")
def test_fine_tuning_that_is_interrupted_ends_the_same(tmp_path, monkeypatch):
    filled(tmp_path / "whole")
    whole = run_experiment(fine_tuning(), str(tmp_path / "whole"))
    filled(tmp_path / "cut")
    real = trained.Trained.make_step

    def failing(self, *arguments):
        step = real(self, *arguments)

        def stepped(state, *rest):
            if int(state.step) == 7:
                raise KeyboardInterrupt
            return step(state, *rest)
        return stepped

    with monkeypatch.context() as patch:
        patch.setattr(trained.Trained, "make_step", failing)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(fine_tuning(), str(tmp_path / "cut"))
    again = run_experiment(fine_tuning(), str(tmp_path / "cut"))
    assert [r["train/loss"] for r in again.metrics()] == [r["train/loss"] for r in whole.metrics()]
    one, other = (found.load_params(spec.tree_abstract(lora.specs(MODEL, RANK2))) for found in (whole, again))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.usefixtures("one_device")
def test_routers_stay_as_they_are_and_report_their_loads(tmp_path):
    """Latent attention, a dense layer and one of experts, whose biases would move by 0.1 an update."""
    moe = MoE(experts=4, per_token=2, ffn=8, dense_layers=1, bias_rate=0.1)
    latent = presets.tiny(layers=2, width=16, heads=2, kv_heads=2, head_dim=8, ffn=16, qk_norm=False, moe=moe,
                          mla=MLA(q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4, value_dim=8))
    base = spec.init(latent, jax.random.key(0))
    store = filled(tmp_path, base | {"embed": 25 * base["embed"]})
    artifact = run_experiment(replace(fine_tuning(), model=latent), str(tmp_path))
    rows = artifact.metrics()
    assert rows[-1]["train/loss"] < rows[0]["train/loss"] and min(row["router/overload"] for row in rows) >= 0
    read = load_weights(store, artifact, make_mesh(MeshConfig(), jax.devices()[:1]))
    assert set(artifact.load_params(spec.tree_abstract(lora.specs(latent, RANK2)))) == {"dense", "layers"}
    for name in ("router", "router_bias", "gate", "kv_down_norm"):
        np.testing.assert_array_equal(read["layers"][name], base["layers"][name])
    assert min(np.abs(read["layers"][name] - base["layers"][name]).max()
               for name in ("kv_up", "q_down", "shared_down")) > 1e-4


def test_eight_devices_equal_one(tmp_path):
    """The same update on a mesh that splits rows, matrices and heads, from adapters that are away from zero."""
    store = filled(tmp_path)
    experiment = fine_tuning()
    arrays = {"tokens": jnp.asarray(np.random.default_rng(0).integers(0, 512, (1, 4, 8)), jnp.int32),
              "positions": jnp.tile(jnp.arange(8, dtype=jnp.int32)[None, None], (1, 4, 1)),
              "segments": jnp.ones((1, 4, 8), jnp.int32),
              "aim": jax.random.normal(jax.random.key(0), (1, 4, 8, 16))}

    def loss(params, batch):
        found, _ = transformer.forward(MODEL, params, batch["tokens"], positions=batch["positions"],
                                       segments=batch["segments"])
        return jnp.sum(batch["aim"] * found), {"train/tokens": jnp.float32(32)}

    updated = []
    for devices, mesh in ((1, None), (8, MeshConfig(data=2, fsdp=2, tensor=2))):
        model, state, _, where = begun(experiment, store, devices, mesh)
        moved = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape),
                             jax.device_get(state.params))
        state = state.replace(params=jax.device_put(moved, where.params))
        state, metrics = model.make_step(loss, optim.make(OptimConfig(learning_rate=0.01), 8), where)(
            state, arrays, jnp.int32(1))
        updated.append((jax.device_get(state.params), float(metrics["train/grad_norm"]),
                        jax.device_get(model.merged(state.params))))
    (one, norm, merged), (eight, norm_of_eight, merged_of_eight) = updated
    assert norm_of_eight == pytest.approx(norm, rel=1e-4) and norm > 1
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), one, eight)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), merged, merged_of_eight)


@pytest.mark.usefixtures("one_device")
def test_a_reward_head_is_trained_beside_the_adapters(tmp_path):
    base = spec.init(replace(test_reward_model.MODEL, heads_out=()), jax.random.key(0))
    put_base(tmp_path, base | {"embed": 25 * base["embed"]})
    test_reward_model.put_data(tmp_path, test_reward_model.pairs())
    settings = replace(test_reward_model.PAIRS, epochs=4)
    artifact = run_experiment(test_reward_model.experiment(settings, lora=RANK2), str(tmp_path))
    assert artifact.summary()["eval/preferences/accuracy"] > 0.9
    found = artifact.load_params(spec.tree_abstract(lora.specs(test_reward_model.MODEL, RANK2)))
    assert set(found) == {"layers", "reward_head"} and np.abs(found["reward_head"]).max() > 0.01


@pytest.mark.slow
def test_reinforcement_with_a_critic_moves_adapters_and_head_and_the_reference_follows(train, micro, store):
    artifact = train(micro("rl.reference_every=4", scale="lora"))
    model = micro(scale="lora").model
    tree = {"params": spec.tree_abstract(lora.specs(model, RANK2)),
            "reference": spec.tree_abstract(lora.specs(model, RANK2))}
    found, earlier = (artifact.restore(tree, step)[1] for step in (6, 4))
    assert set(found["params"]) == {"layers", "value_head"} and np.abs(found["params"]["value_head"]).max() > 0.01
    jax.tree.map(np.testing.assert_array_equal, found["reference"], earlier["params"])  # replaced at step 4
    assert np.abs(found["params"]["layers"]["down"]["b"] - earlier["params"]["layers"]["down"]["b"]).max() > 0
    rows = artifact.metrics()
    assert [row["step"] for row in rows] == list(range(7))
    # the sampler reads merged weights, the trainer the sum of two products
    assert max(row["mismatch/max_abs"] for row in rows if "mismatch/max_abs" in row) < 1e-3


def test_memory_is_counted_for_what_is_held(micro):
    experiment = replace(micro(), lora=RANK2)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    needed, weights = rl.memory_needed(experiment, mesh), spec.count(experiment.model)
    assert needed["frozen weights"] == needed["merged weights"] == 4 * weights
    assert needed["adapters, gradient, two moments and reference"] == 20 * 2 * 2 * (
        2 * (16 + 16) + 2 * (16 + 8) + 3 * (16 + 16))
    assert "weights, gradient, two moments and reference" not in needed


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"lora": LoRA(2, targets=("embed",))}, r"lora.targets names embed, and the matrices of this model's layers are"),
    ({"optim": OptimConfig(name="muon")}, r"optim.name='muon' is for whole matrices, and lora trains factors of them"),
    ({"sft": None}, r"lora is set, and student trains no parent's weights; leave it out"),
])
def test_what_cannot_work_is_refused_before_anything_is_begun(tmp_path, changed, sentence):
    store = filled(tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        run_experiment(replace(fine_tuning(), **changed), str(tmp_path))
    assert store.find("student@tiny") is None
