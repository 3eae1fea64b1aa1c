"""One update of the RSSM agent in JAX: the same network, batch, imagination, losses and optimiser as bench_nn's whole updates,
written as a JAX user would write it (one jitted function, scans over time), to time beside it.

usage: agent_jax.py size1m|size12m [UPDATES] [--bfloat16]      needs: pip install jax

--bfloat16: layers compute in bfloat16, as DreamerV3 does by default: weights (kept in float32), inputs and results of products;
norms, distributions, losses, gradients of weights and the optimiser in float32.
"""

import json
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

SIZES = {"size1m": (512, 64, 4, 64), "size12m": (2048, 256, 16, 256)}
S, G, BATCH, LENGTH, HORIZON, OBS, ACTION, BINS = 32, 8, 16, 64, 15, 5, 1, 255
GAMMA_LAMBDA, SLOW, LR = 0.95, 0.02, 4e-5
COMPUTE = jnp.bfloat16 if "--bfloat16" in sys.argv else jnp.float32
BIN = jnp.concatenate([-jnp.expm1(jnp.linspace(20.0, 0.0, 128)), jnp.expm1(jnp.linspace(0.0, 20.0, 128))[1:]])


def symlog(x):
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def init(name):
    D, H, C, U = SIZES[name]
    Z, F = S * C, D + S * C
    key = jax.random.PRNGKey(0)

    def matrix(out, width, fan, scale=1.0):
        nonlocal key
        key, k = jax.random.split(key)
        return scale * 1.1368 * jax.random.truncated_normal(k, -2, 2, (out, width)) / np.sqrt(fan)

    def layer(width, out, blocks=1):
        shape = (blocks, out // blocks, width // blocks)
        return {"w": matrix(out, width // blocks, width).reshape(shape), "b": jnp.zeros(out), "g": jnp.ones(out)}

    def head(width, depth, units, out, scale):
        layers = [layer(width if i == 0 else units, units) for i in range(depth)]
        return {"layers": layers, "w": matrix(out, units, units, scale), "b": jnp.zeros(out)}

    model = {
        "encoder": [layer(OBS if i == 0 else U, U) for i in range(3)],
        "deter": layer(D, H), "stoch": layer(Z, H), "action": layer(ACTION, H),
        "hidden": layer(D + G * 3 * H, D, G),
        "gates": {"w": matrix(3 * D, D // G, D).reshape(G, 3 * D // G, D // G), "b": jnp.zeros(3 * D)},
        "prior": head(D, 2, H, Z, 1.0), "posterior": head(D + U, 1, H, Z, 1.0),
        "decoder": head(F, 3, U, OBS, 1.0), "reward": head(F, 1, U, BINS, 0.0), "cont": head(F, 1, U, 1, 1.0),
    }  # fmt: skip
    return model, {"policy": head(F, 3, U, 2 * ACTION, 0.01), "value": head(F, 3, U, BINS, 0.0)}


def blocks(x, w):
    n, g = x.shape[0], w.shape[0]
    return jnp.einsum("ngi,goi->ngo", x.reshape(n, g, -1).astype(COMPUTE), w.astype(COMPUTE)).reshape(n, -1)


def apply_layer(p, x):
    y = blocks(x, p["w"]).astype(jnp.float32) + p["b"]
    y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + 1e-4) * p["g"]
    return jax.nn.silu(y.astype(COMPUTE))


def apply_head(p, x):
    for layer in p["layers"]:
        x = apply_layer(layer, x)
    return (x.astype(COMPUTE) @ p["w"].T.astype(COMPUTE)).astype(jnp.float32) + p["b"]


def categorical(logits, C):
    p = 0.99 * jax.nn.softmax(logits.reshape(logits.shape[0], S, C)) + 0.01 / C
    return p


def one_hot(p, u):
    index = jnp.sum(jnp.cumsum(p, -1) < u[..., None], -1).clip(0, p.shape[-1] - 1)
    hard = jax.nn.one_hot(index, p.shape[-1])
    return (hard + p - jax.lax.stop_gradient(p)).reshape(p.shape[0], -1)


def recur(m, deter, stoch, action):
    a = action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
    shared = jnp.concatenate([apply_layer(m["deter"], deter), apply_layer(m["stoch"], stoch), apply_layer(m["action"], a)], -1)
    n, D = deter.shape
    x = jnp.concatenate([deter.reshape(n, G, -1).astype(COMPUTE), jnp.repeat(shared[:, None], G, 1)], -1).reshape(n, -1)
    z = (blocks(apply_layer(m["hidden"], x), m["gates"]["w"]).astype(jnp.float32) + m["gates"]["b"]).reshape(n, G, 3, D // G)
    r, c, u = (z[:, :, i].reshape(n, D) for i in range(3))
    u = jax.nn.sigmoid(u - 1)
    return u * jnp.tanh(jax.nn.sigmoid(r) * c) + (1 - u) * deter


def twohot_mean(logits):
    p = jax.nn.softmax(logits)
    return p[:, 127] * BIN[127] + jnp.sum(p[:, :127][:, ::-1] * BIN[:127][::-1] + p[:, 128:] * BIN[128:], -1)


def twohot_loss(logits, target):
    above = jnp.searchsorted(BIN, target).clip(1, BINS - 1)
    low, high = BIN[above - 1], BIN[above]
    share = ((target - low) / (high - low)).clip(0, 1)
    q = jax.nn.one_hot(above, BINS) * share[:, None] + jax.nn.one_hot(above - 1, BINS) * (1 - share)[:, None]
    return -jnp.sum(q * jax.nn.log_softmax(logits), -1)


def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), (-1, -2))


def returns(reward, cont, value):
    def back(after, x):
        r, c, v = x
        now = r + c * ((1 - GAMMA_LAMBDA) * v + GAMMA_LAMBDA * after)
        return now, now

    return jax.lax.scan(back, value[-1], (reward[1:], cont[1:], value[1:]), reverse=True)[1]


def loss(params, slow, batch, key, C):
    model, behaviour = params
    stop = jax.lax.stop_gradient
    k1, k2, k3 = jax.random.split(key, 3)
    T, N = batch["reward"].shape
    tokens = symlog(batch["obs"]).reshape(T * N, -1)
    for p in model["encoder"]:
        tokens = apply_layer(p, tokens)
    D = model["prior"]["layers"][0]["w"].shape[-1]

    def observe(carry, x):
        deter, stoch = carry
        token, action, keep, u = x
        deter = recur(model, deter * keep[:, None], stoch * keep[:, None], action * keep[:, None])
        p = categorical(apply_head(model["posterior"], jnp.concatenate([deter, token], -1)), C)
        stoch = one_hot(p, u)
        return (deter, stoch), (deter, stoch, p)

    start = (jnp.zeros((N, D)), jnp.zeros((N, S * C)))
    steps = (tokens.reshape(T, N, -1), batch["action"], batch["keep"], jax.random.uniform(k1, (T, N, S)))
    deter, stoch, posterior = jax.tree.map(lambda x: x.reshape(T * N, *x.shape[2:]), jax.lax.scan(observe, start, steps)[1])
    feat = jnp.concatenate([deter, stoch], -1)
    prior = categorical(apply_head(model["prior"], deter), C)
    total = jnp.mean(jnp.sum((apply_head(model["decoder"], feat) - symlog(batch["obs"]).reshape(T * N, -1)) ** 2, -1))
    total += jnp.mean(twohot_loss(apply_head(model["reward"], feat), batch["reward"].reshape(-1)))
    logit, goes_on = apply_head(model["cont"], feat)[:, 0], batch["cont"].reshape(-1)
    total += jnp.mean(jax.nn.softplus(logit) - goes_on * logit)
    total += jnp.mean(jnp.maximum(1.0, kl(stop(posterior), prior))) + 0.1 * jnp.mean(jnp.maximum(1.0, kl(posterior, stop(prior))))

    frozen = stop(model)

    def imagine(carry, x):
        deter, stoch = carry
        feat = jnp.concatenate([deter, stoch], -1)
        dist = stop(apply_head(behaviour["policy"], feat))
        action = jnp.tanh(dist[:, :ACTION]) + (0.9 * jax.nn.sigmoid(dist[:, ACTION:] + 2) + 0.1) * x[0]
        deter = recur(frozen, deter, stoch, action)
        stoch = one_hot(categorical(apply_head(frozen["prior"], deter), C), x[1])
        return (deter, stoch), (feat, action)

    rows = T * N
    draws = (jax.random.normal(k2, (HORIZON, rows, ACTION)), jax.random.uniform(k3, (HORIZON, rows, S)))
    end, (feats, actions) = jax.lax.scan(imagine, (stop(deter), stop(stoch)), draws)
    feats = stop(jnp.concatenate([feats, jnp.concatenate(end, -1)[None]]))
    flat = feats.reshape((HORIZON + 1) * rows, -1)
    shape = (HORIZON + 1, rows)
    reward = twohot_mean(apply_head(frozen["reward"], flat)).reshape(shape)
    cont = jax.nn.sigmoid(apply_head(frozen["cont"], flat)).reshape(shape)
    logits = apply_head(behaviour["value"], flat)
    value = stop(twohot_mean(logits)).reshape(shape)
    slow_value = stop(twohot_mean(apply_head(slow, flat))).reshape(shape)
    R = returns(reward, cont, value)
    w = jnp.cumprod(cont, 0)[:-1]
    scale = jnp.maximum(1.0, jnp.percentile(R, 95) - jnp.percentile(R, 5))
    dist = apply_head(behaviour["policy"], feats[:-1].reshape(HORIZON * rows, -1))
    mean, std = jnp.tanh(dist[:, :ACTION]), 0.9 * jax.nn.sigmoid(dist[:, ACTION:] + 2) + 0.1
    acts = stop(actions).reshape(HORIZON * rows, ACTION)
    log_prob = jnp.sum(-0.5 * ((acts - mean) / std) ** 2 - jnp.log(std), -1)
    entropy = jnp.sum(jnp.log(std), -1)
    advantage = ((R - value[:-1]) / scale).reshape(-1)
    w = w.reshape(-1)
    total -= jnp.mean(w * (log_prob * advantage + 3e-4 * entropy))
    first = logits[: HORIZON * rows]
    total += jnp.mean(w * (twohot_loss(first, R.reshape(-1)) + twohot_loss(first, slow_value[:-1].reshape(-1))))

    # value of replayed states, bootstrapped with what was imagined from them
    carried = returns(batch["reward"], batch["cont"], R[0].reshape(T, N))
    replayed = apply_head(behaviour["value"], feat[: (T - 1) * N])
    loss_of = twohot_loss(replayed, stop(carried).reshape(-1)) + twohot_loss(replayed, slow_value[0].reshape(T, N)[:-1].reshape(-1))
    return total + 0.3 * jnp.mean(loss_of)


def optimise(p, g, v, m, t):
    """AGC, RMS, momentum."""
    size = lambda x: jnp.sqrt(jnp.sum(x * x))
    g = g / jnp.maximum(1.0, size(g) / (0.3 * jnp.maximum(1e-3, size(p))))
    v = 0.999 * v + 0.001 * g * g
    m = 0.9 * m + 0.1 * g / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-20)
    return p - LR * m / (1 - 0.9**t), v, m


def main(name, updates=5):
    C = SIZES[name][2]
    params = init(name)
    zero = jax.tree.map(jnp.zeros_like, params)
    state = (params, params[1]["value"], zero, zero, jnp.float32(0))
    rng = np.random.default_rng(1)
    batch = {"obs": rng.uniform(-1, 1, (LENGTH, BATCH, OBS)), "action": rng.uniform(-1, 1, (LENGTH, BATCH, ACTION)), "reward": rng.uniform(0, 1, (LENGTH, BATCH)), "keep": np.ones((LENGTH, BATCH)), "cont": np.ones((LENGTH, BATCH))}  # fmt: skip
    batch = {k: jnp.asarray(x, jnp.float32) for k, x in batch.items()}

    @jax.jit
    def update(state, key):
        params, slow, v, m, t = state
        value, grad = jax.value_and_grad(loss)(params, slow, batch, key, C)
        leaves, tree = jax.tree.flatten(params)
        new = [optimise(p, g, a, b, t + 1) for p, g, a, b in zip(leaves, jax.tree.leaves(grad), jax.tree.leaves(v), jax.tree.leaves(m))]
        params, v, m = (jax.tree.unflatten(tree, [x[i] for x in new]) for i in range(3))
        slow = jax.tree.map(lambda s, x: s + SLOW * (x - s), slow, params[1]["value"])
        return (params, slow, v, m, t + 1), value

    seconds = []
    for i in range(updates + 1):  # the first one compiles
        start = time.perf_counter()
        state, value = update(state, jax.random.PRNGKey(i))
        value.block_until_ready()
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    assert np.isfinite(float(value)), value
    count = sum(x.size for x in jax.tree.leaves(params))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"peer": f"jax {jax.__version__}", "size": name, "precision": COMPUTE.__name__, "parameters": count, "update_s": round(min(seconds[1:]), 3), "compile_s": round(seconds[0], 1), "resident_gb": round(memory, 2), "loss": float(value)}))  # fmt: skip


if __name__ == "__main__":
    operands = [x for x in sys.argv[1:] if x != "--bfloat16"]
    main(operands[0], *map(int, operands[1:]))
