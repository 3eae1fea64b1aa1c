"""One full update of the DreamerV3 agent from an independent implementation: JAX in double precision with its own
differentiation. Writes the fixtures that test_golden_dreamer.c compares with: every loss, gradient and parameter change, with
continuous and with two discrete actions, with a second reward head on some columns of the observation; the range of returns is
below 1 in the one and above it in the other.

usage: dreamer.py DIRECTORY          (needs jax and numpy from PyPI)
"""

import json
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(11)
D, H, C, U, S, G, O, A, B, T, K, HORIZON = 8, 4, 3, 4, 2, 2, 3, 2, 3, 4, 2, 3
Z, F, N = S * C, D + S * C, B * K
UNIMIX, LAMBDA, ENTROPY, REPLAY, LR, WARMUP, VIEW_FROM, VIEW, VIEW_SHARE = 0.01, 0.9, 0.02, 0.3, 1e-3, 4, 1, 2, 0.25
TEST, MAGIC, SEED = 14, 0x48574D31, 5  # hwm_purpose


def write(path, tensors):
    header, at = {}, 0
    for name, x in tensors.items():
        n = x.size * 4
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(np.ascontiguousarray(x, dtype="<f4").tobytes())


# ---- the numbers that imagination draws, as the library draws them: Philox, and its float32 normals


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


class Stream:
    def __init__(self):
        self.key, self.block, self.left = philox([TEST, 0, 0, MAGIC], [SEED, 0])[:2], 0, []

    def word(self):
        if not self.left:
            self.left = philox([self.block, 0, 0, 0], self.key)
            self.block += 1
        return self.left.pop(0)

    def uniform(self, n):
        return np.array([(self.word() >> 8) * 2.0**-24 for _ in range(n)])

    def normal(self, n):
        return np.array([normal_of(self.word()) for _ in range(n)])


def horner(coefficients, x):
    p = np.float32(coefficients[0])
    for c in coefficients[1:]:
        p = p * x + np.float32(c)
    return p


def log_positive(y):
    bits = int(np.float32(y).view(np.int32))
    e = (bits - 0x3F3504F3) >> 23
    f = np.int32(bits - e * (1 << 23)).view(np.float32) - np.float32(1)
    p = horner([0.0714975372, -0.115712009, 0.116615109, -0.124110505, 0.142499372, -0.166684806, 0.200007081, -0.249999896, 0.333333313], f)
    ff = f * f
    return np.float32(e) * np.float32(0.693147182) + (f - np.float32(0.5) * ff + ff * f * p)


def normal_of(word):
    k = word >> 1
    v = (np.float32(k) + np.float32(0.5)) * np.float32(2.0**-31)
    x = np.float32(0x7FFFFFFF - k) * np.float32(2.0**-31)
    w = -log_positive(v * (np.float32(2) - v))
    w = max(w, np.float32(0))
    p = horner([-1.23599877e-08, 3.29311582e-08, 6.5821564e-07, -4.89792546e-06, -7.01413637e-06, 0.000308789167, -0.00177165377,
                -0.00590772135, 0.34880203, 2.12331343], w - np.float32(2.5))
    q = horner([5.13441992e-05, -2.34096551e-05, -0.00042017622, 0.00102278066, -0.00140910945, 0.00205018092, -0.0036393886,
                0.00562716043, 1.42361283, 4.57467461], np.sqrt(w) - np.float32(3.4))
    z = float(x * (p if w < 5 else q))
    return -z if word & 1 else z


# ---- parameters, by the names of the library


def random(*shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def layer(p, name, fan_in, out, width=None):
    p[name + "/weight"] = random(out, width or fan_in, scale=0.5)
    p[name + "/bias"] = random(out, scale=0.2)
    p[name + "/gain"] = 1 + random(out, scale=0.2)


def head(p, name, fan_in, layers, out, slope=0.22):
    for i in range(layers):
        layer(p, f"{name}/{i}", fan_in if i == 0 else U, H if name in ("prior", "posterior") else U)
    if out:
        p[name + "/out/weight"] = random(out, U, scale=0.5)
        p[name + "/out/bias"] = random(out, scale=0.2)
        if out == 255:  # most of it near 0: values of ordinary size
            p[name + "/out/bias"] -= (slope * np.abs(np.arange(255) - 127)).astype(np.float32)


def parameters(discrete):
    m = {}
    head(m, "encoder", O, 3, 0)
    layer(m, "dynamics/deter", D, H)
    layer(m, "dynamics/stoch", Z, H)
    layer(m, "dynamics/action", A, H)
    layer(m, "dynamics/hidden", 0, D, width=D // G + 3 * H)
    m["dynamics/gates/weight"] = random(3 * D, D // G, scale=0.5)
    m["dynamics/gates/bias"] = random(3 * D, scale=0.2)
    head(m, "prior", D, 2, Z)
    head(m, "posterior", D + U, 1, Z)
    head(m, "decoder", F, 3, O)
    head(m, "reward", F, 1, 255)
    head(m, "continue", F, 1, 1)
    head(m, "view_reward", VIEW, 1, 255)
    b, slow = {}, {}
    head(b, "policy", F, 3, A if discrete else 2 * A)
    head(b, "value", F, 3, 255, slope=0.14 if discrete else 0.22)  # a return scale above 1, and one held at 1
    for name in b:
        slow[name] = b[name] + random(*b[name].shape, scale=0.1)
    return m, b, slow


# ---- the networks


def norm_silu(x, gain):
    y = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-4) * gain
    return y * jax.nn.sigmoid(y)


def apply_layer(p, name, x):
    return norm_silu(x @ p[name + "/weight"].T + p[name + "/bias"], p[name + "/gain"])


def apply_head(p, name, x, layers, out=True):
    for i in range(layers):
        x = apply_layer(p, f"{name}/{i}", x)
    return x @ p[name + "/out/weight"].T + p[name + "/out/bias"] if out else x


def symlog(x):
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def categorical(logits):
    p = jax.nn.softmax(logits.reshape(*logits.shape[:-1], S, C), -1)
    return ((1 - UNIMIX) * p + UNIMIX / C).reshape(logits.shape)


def draw(p, uniform):
    q = p.reshape(-1, S, C)
    index = jnp.minimum((jnp.cumsum(q, -1) <= uniform[..., None]).sum(-1), C - 1)
    hard = jnp.eye(C)[index].reshape(p.shape)
    return jax.lax.stop_gradient(hard - p) + p


def recur(p, deter, stoch, action):
    a = action / jnp.maximum(1, jnp.abs(jax.lax.stop_gradient(action)))
    shared = jnp.concatenate(
        [apply_layer(p, "dynamics/deter", deter), apply_layer(p, "dynamics/stoch", stoch), apply_layer(p, "dynamics/action", a)], -1
    )
    groups = deter.reshape(-1, G, D // G)
    x = jnp.concatenate([groups, jnp.repeat(shared[:, None], G, 1)], -1)
    w = p["dynamics/hidden/weight"].reshape(G, D // G, -1)
    h = norm_silu(jnp.einsum("ngi,goi->ngo", x, w).reshape(-1, D) + p["dynamics/hidden/bias"], p["dynamics/hidden/gain"])
    w = p["dynamics/gates/weight"].reshape(G, 3 * D // G, -1)
    z = jnp.einsum("ngi,goi->ngo", h.reshape(-1, G, D // G), w) + p["dynamics/gates/bias"].reshape(G, -1)
    r, c, u = jnp.split(z, 3, -1)
    c = jnp.tanh(jax.nn.sigmoid(r) * c)
    u = jax.nn.sigmoid(u - 1)
    return (u * c + (1 - u) * groups).reshape(-1, D)


half = np.sign(np.linspace(-20, 0, 128)) * np.expm1(np.abs(np.linspace(-20, 0, 128)))
BINS = np.concatenate([half, -half[:-1][::-1]])


def expectation(logits):
    p = jax.nn.softmax(logits, -1)
    return ((p[:, :127] * BINS[:127])[:, ::-1] + p[:, 128:] * BINS[128:]).sum(-1)[..., None][:, 0]


def twohot_loss(logits, target):
    above = jnp.clip((BINS <= target[:, None]).sum(-1), 1, 254)
    bins = jnp.asarray(BINS)
    lo, hi = bins[above - 1], bins[above]
    w = (target - lo) / (hi - lo)
    lp = jax.nn.log_softmax(logits, -1)
    rows = jnp.arange(len(target))
    return -(1 - w) * lp[rows, above - 1] - w * lp[rows, above]


def losses(model, behaviour, slow, b, discrete):
    stop = jax.lax.stop_gradient
    out = {}
    # the world model on the batch
    deter, stoch = jnp.zeros((B, D)), jnp.zeros((B, Z))
    tokens = apply_head(model, "encoder", symlog(b["obs"]), 3, out=False)
    rows = []
    for t in range(T):
        keep = b["keep"][t][:, None]
        deter = recur(model, deter * keep, stoch * keep, b["action"][t] * keep)
        post = categorical(apply_head(model, "posterior", jnp.concatenate([deter, tokens[t]], -1), 1))
        stoch = draw(post, b["draws"][t])
        rows.append((deter, stoch, post))
    deter, stoch, post = (jnp.concatenate(x) for x in zip(*rows))
    prior = categorical(apply_head(model, "prior", deter, 2))
    feat = jnp.concatenate([deter, stoch], -1)
    weight, reward = b["weight"].reshape(-1), b["reward"].reshape(-1)
    mean = lambda x, w: (x * w).sum() / len(w)
    kl = lambda p, q: (p * (jnp.log(p) - jnp.log(q))).sum(-1)
    seen = symlog(b["obs"]).reshape(-1, O)
    out["obs"] = mean(((apply_head(model, "decoder", feat, 3) - seen) ** 2).sum(-1), weight)
    out["reward"] = mean(twohot_loss(apply_head(model, "reward", feat, 1), reward), weight)
    logit, target = apply_head(model, "continue", feat, 1)[:, 0], b["cont"].reshape(-1)
    out["cont"] = mean(jnp.logaddexp(0, logit) - logit * target, weight)
    out["kl"] = mean(kl(post, prior), weight)
    dyn = mean(jnp.maximum(1.0, kl(stop(post), prior)), weight)
    rep = mean(jnp.maximum(1.0, kl(post, stop(prior))), weight)
    view_logits = apply_head(model, "view_reward", seen[:, VIEW_FROM : VIEW_FROM + VIEW], 1)
    out["view"] = mean(twohot_loss(view_logits, reward), weight)
    total = out["obs"] + out["reward"] + out["cont"] + dyn + 0.1 * rep + out["view"]

    # imagination from the last K rows of every sequence, in a model that does not move
    frozen, draws = stop(model), Stream()
    d, s = stop(deter[(T - K) * B :]), stop(stoch[(T - K) * B :])
    r, c, V, Vs, logits_v, terms = [], [], [], [], [], []
    for t in range(HORIZON + 1):
        f = jnp.concatenate([d, s], -1)
        one = expectation(apply_head(frozen, "reward", f, 1))
        look = apply_head(frozen, "decoder", f, 3)[:, VIEW_FROM : VIEW_FROM + VIEW]
        two = expectation(apply_head(frozen, "view_reward", look, 1))
        r.append((1 - VIEW_SHARE) * one + VIEW_SHARE * two)
        c.append(jax.nn.sigmoid(apply_head(frozen, "continue", f, 1)[:, 0]))
        Vs.append(expectation(apply_head(slow, "value", f, 3)))
        logits_v.append(apply_head(behaviour, "value", f, 3))
        V.append(stop(expectation(logits_v[-1])))
        if t == HORIZON:
            break
        x = apply_head(behaviour, "policy", f, 3)
        if discrete:
            p = jax.nn.sigmoid(x)
            up = jnp.asarray(draws.uniform(N * A).reshape(N, A)) < stop(p)
            action = jnp.where(up, 1.0, -1.0)
            terms.append((jnp.where(up, jnp.log(p), jnp.log(1 - p)).sum(-1), -(p * jnp.log(p) + (1 - p) * jnp.log(1 - p)).sum(-1)))
        else:
            m, std = jnp.tanh(x[:, :A]), 0.9 * jax.nn.sigmoid(x[:, A:] + 2) + 0.1
            action = stop(m + std * draws.normal(N * A).reshape(N, A))
            log_p = (-0.5 * ((action - m) / std) ** 2 - jnp.log(std) - 0.5 * np.log(2 * np.pi)).sum(-1)
            terms.append((log_p, (jnp.log(std) + 0.5 * np.log(2 * np.pi * np.e)).sum(-1)))
        d = recur(frozen, d, s, action)
        s = stop(draw(categorical(apply_head(frozen, "prior", d, 2)), jnp.asarray(draws.uniform(N * S).reshape(N, S))))
    R = [V[-1]]
    for t in reversed(range(HORIZON)):
        R.append(r[t + 1] + c[t + 1] * ((1 - LAMBDA) * V[t + 1] + LAMBDA * R[-1]))
    R = stop(jnp.stack(R[1:][::-1]))
    ordered = jnp.sort(R.reshape(-1))
    n = HORIZON * N
    scale = jnp.maximum(1.0, ordered[int(0.95 * (n - 1))] - ordered[int(0.05 * (n - 1))])
    w = jnp.cumprod(jnp.stack(c), 0)
    out["scale"], out["return"] = scale, R.mean()
    out["policy"] = out["entropy"] = out["value"] = 0.0
    for t in range(HORIZON):
        log_p, entropy = terms[t]
        spread = mean(entropy, stop(w[t]))
        out["entropy"] += spread / HORIZON
        out["policy"] += (mean(log_p, -stop(w[t] * (R[t] - V[t]) / scale)) - ENTROPY * spread) / HORIZON
        out["value"] += mean(twohot_loss(logits_v[t], R[t]) + twohot_loss(logits_v[t], stop(Vs[t])), stop(w[t])) / HORIZON

    # the critic on replayed rewards; reaches the world model
    first, target, mask = T - K, [None] * (K - 1), []
    following = R[0][(K - 1) * B :]
    for k in reversed(range(K - 1)):
        ends = b["last"][first + k + 1]
        carry = jnp.where(ends != 0, R[0][(k + 1) * B : (k + 2) * B], following)
        following = b["reward"][first + k + 1] + b["cont"][first + k + 1] * (
            (1 - LAMBDA) * V[0][(k + 1) * B : (k + 2) * B] + LAMBDA * carry
        )
        target[k] = following
    target = stop(jnp.concatenate(target))
    span = slice(first * B, (first + K - 1) * B)
    mask = jnp.where(b["last"].reshape(-1)[span] != 0, 0, weight[span])
    again = apply_head(behaviour, "value", feat[span], 3)
    out["replay"] = mean(twohot_loss(again, target) + twohot_loss(again, stop(Vs[0][: (K - 1) * B])), mask)
    return total + out["policy"] + out["value"] + REPLAY * out["replay"], out


def stepped(p, g):
    """First update of LaProp with clipping per tensor."""
    g = g / max(1.0, np.linalg.norm(g) / (0.3 * max(1e-3, np.linalg.norm(p))))
    v = 0.001 * g * g
    m = 0.1 * g / (np.sqrt(v / (1 - 0.999)) + 1e-20)
    return p - LR / WARMUP * m / (1 - 0.9)


where = sys.argv[1]
for name, discrete in (("continuous", False), ("discrete", True)):
    model, behaviour, slow = parameters(discrete)
    batch = {
        "obs": random(T, B, O, scale=2),
        "action": random(T, B, A, scale=1.2),
        "reward": random(T, B, scale=3),
        "keep": np.array([[0, 0, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0]], np.float32),
        "cont": np.array([[0.997] * 3, [0.997, 0.997, 0], [0.997] * 3, [0, 0.997, 0.997]], np.float32),
        "weight": np.array([[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]], np.float32),
        "last": np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]], np.float32),
        "draws": rng.uniform(size=(T, B, S)).astype(np.float32),
    }
    wide = lambda tree: {k: jnp.asarray(v, jnp.float64) for k, v in tree.items()}
    (_, out), (gm, gb) = jax.value_and_grad(losses, argnums=(0, 1), has_aux=True)(
        wide(model), wide(behaviour), wide(slow), wide(batch), discrete
    )
    fixture = {f"model/{k}": v for k, v in model.items()}
    fixture |= {f"behaviour/{k}": v for k, v in behaviour.items()} | {f"slow/{k}": v for k, v in slow.items()}
    fixture |= {f"batch/{k}": v for k, v in batch.items()}
    fixture |= {f"loss/{k}": np.array([v]) for k, v in out.items()}
    after = {}
    for prefix, values, grads in (("model", model, gm), ("behaviour", behaviour, gb)):
        after |= {f"grad_{prefix}/{k}": np.asarray(g) for k, g in grads.items()}
        after |= {f"step_{prefix}/{k}": stepped(values[k].astype(np.float64), np.asarray(g)) - values[k] for k, g in grads.items()}
        norm = np.sqrt(sum((np.asarray(g) ** 2).sum() for g in grads.values()))
        fixture[f"loss/{prefix}_norm"] = np.array([norm])
    write(f"{where}/dreamer_{name}.safetensors", fixture)
    write(f"{where}/dreamer_{name}_after.safetensors", after)
    print(name, {k: float(v) for k, v in out.items()})
