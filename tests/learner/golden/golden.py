"""Golden numbers of one update of everything, from an independent implementation: JAX in double precision, with its own
differentiation. Writes golden.json beside this file; test_golden.c compares the learner's double build against it.

usage: XLA_FLAGS=--xla_backend_optimization_level=0 python golden.py     (needs jax and numpy from PyPI; the flag spares minutes)
"""

import json
import math
import os

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

O, A, B, H, K, UNITS, HIDDEN, N = 4, 1, 8, 5, 2, 8, 5, 16
GAMMA, LAMBDA, ENTROPY, W_MAX, ETA = 0.9, 0.8, 0.05, 0.5, 0.1
CODE, SAMPLES, ENCODER = 2, 3, 6
REWARD_LO, REWARD_HI = -0.5, 0.6


def v(stream, n):
    """The numbers that both sides use for everything: n of stream."""
    k = np.arange(1, n + 1, dtype=np.float64)
    return np.sin(12.9898 * k + 78.233 * stream)


def unflatten(flat, shapes):
    out, at = {}, 0
    for name, shape in shapes:
        n = int(np.prod(shape))
        out[name] = flat[at : at + n].reshape(shape)
        at += n
    assert at == flat.shape[0], (at, flat.shape)
    return out


def mlp_shapes(prefix, i, layers, units, o):
    s = []
    for l in range(layers + 1):
        a, b = (i if l == 0 else units), (o if l == layers else units)
        s += [(f"{prefix}/w{l}", (b, a)), (f"{prefix}/b{l}", (b,))]
    return s


def mlp(p, prefix, x):
    l = 0
    while f"{prefix}/w{l}" in p:
        x = x @ p[f"{prefix}/w{l}"].T + p[f"{prefix}/b{l}"]
        l += 1
        if f"{prefix}/w{l}" in p:
            x = jax.nn.elu(x)
    return x


def model_shapes(context):
    i = O + (CODE if context else 0) + A
    s = []
    for k in range(K):
        s += mlp_shapes(f"member{k}", i, 2, UNITS, O + 2)
    if context:
        s += mlp_shapes("encoder", 2 * O + A, 2, ENCODER, CODE)
    return s + [("delta_scale", (O,)), ("obs_min", (O,)), ("obs_max", (O,)), ("reward_range", (2,)), ("refreshed", (1,))]


def model_values(context):
    shapes = model_shapes(context)
    flat = 0.5 * v(2, sum(int(np.prod(s)) for _, s in shapes))
    tail = [0.2 + 0.05 * j for j in range(O)] + [-1.0] * O + [1.0] * O + [REWARD_LO, REWARD_HI, 1.0]
    flat[-len(tail) :] = tail
    return flat


def bce(logit, y):
    return jnp.maximum(logit, 0) - logit * y + jnp.log1p(jnp.exp(-jnp.abs(logit)))


def encode(p, hindsight):
    scale = jnp.concatenate([jnp.ones(O + A), p["delta_scale"]])
    return jnp.tanh(mlp(p, "encoder", hindsight / scale).mean(-2))


def model_loss(flat, context):
    p = unflatten(flat, model_shapes(context))
    obs = 0.6 * v(9, N * 2 * O).reshape(N, 2, O)
    u = v(10, N * 2 * A).reshape(N, 2, A)[:, 0]
    reward = 0.5 * v(11, N * 2).reshape(N, 2)[:, 1]
    i = np.arange(N)
    terminal, valid = (i % 5 == 0) * 1.0, (i % 7 != 6) * 1.0
    parts = [obs[:, 0]]
    scale = jax.lax.stop_gradient(p["delta_scale"])
    if context:
        q = dict(p, delta_scale=scale)
        parts.append(encode(q, 0.5 * v(12, N * SAMPLES * (2 * O + A)).reshape(N, SAMPLES, 2 * O + A)))
    x = jnp.concatenate(parts + [u], -1)
    y = jnp.concatenate([mlp(p, f"member{k}", x[k * N // K : (k + 1) * N // K]) for k in range(K)])
    l_obs = (valid * ((y[:, :O] - (obs[:, 1] - obs[:, 0]) / scale) ** 2).mean(-1)).sum() / N
    l_reward = (valid * (y[:, O] - reward) ** 2).sum() / N
    l_cont = (valid * (1 + 4 * terminal) * bce(y[:, O + 1], 1 - terminal)).sum() / N
    return l_obs + 10 * l_reward + l_cont, (l_obs, l_reward, l_cont)


def adam(p, grads, lr, clip):
    """Three updates on the gradients that `grads` gives, once per update; entries of a list without gradient stay."""
    m = s = np.zeros_like(p)
    norms = []
    for t in range(1, 4):
        g = np.asarray(grads(p))
        norm = math.sqrt((g * g).sum())
        norms.append(norm)
        if clip and norm > clip:
            g = g * (clip / norm)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    return p, norms


# ---- explicit imagination


def phi_shapes(rule):
    if rule == "abcd":
        return [(f"layer{l}.{t}", s) for l, s in ((1, (HIDDEN, O)), (2, (1, HIDDEN))) for t in ("A", "B", "C", "D", "eta")]
    s = [("layer1.W", (HIDDEN, 2 * O))]
    s += [(f"layer2.{t}", (1, HIDDEN)) for t in ("A", "B", "C", "D", "eta")]
    return s + [("layer2.m_x", (2 * O,)), ("layer2.m_h", (HIDDEN,)), ("input.delta_scale", (O,))]


def phi_values(rule):
    shapes = phi_shapes(rule)
    flat = 0.4 * v(1, sum(int(np.prod(s)) for _, s in shapes))
    if rule == "mod3":
        flat[-O:] = 0.6
    return flat


def bound(w):
    return w / jnp.maximum(1.0, jax.lax.stop_gradient(jnp.abs(w).max((-1, -2), keepdims=True)) / W_MAX)


def critic_shapes(features):
    return mlp_shapes("critic", features, 2, UNITS, 1)


def imagine(phi_flat, rule, context):
    phi = unflatten(phi_flat, phi_shapes(rule))
    p = unflatten(model_values(context), model_shapes(context))
    Z = O + (CODE if context else 0)
    slow_shapes = critic_shapes(Z)
    slow = unflatten(0.3 * v(4, sum(int(np.prod(s)) for _, s in slow_shapes)), slow_shapes)
    z = jnp.asarray(0.5 * v(5, B * Z).reshape(B, Z))
    S = HIDDEN * O + HIDDEN if rule == "abcd" else HIDDEN + HIDDEN + 1
    state = jnp.asarray(0.4 * v(6, B * S).reshape(B, S))
    previous = jnp.asarray(0.5 * v(7, B * O).reshape(B, O))
    first = (np.arange(B) % 4 == 0) * 1.0
    w = jnp.asarray((np.arange(B) != 3) * 1.0)
    if rule == "abcd":
        W1, W2 = state[:, : HIDDEN * O].reshape(B, HIDDEN, O), state[:, HIDDEN * O :].reshape(B, 1, HIDDEN)
    else:
        W2, old_pre, old_post = state[:, :HIDDEN].reshape(B, 1, HIDDEN), state[:, HIDDEN : 2 * HIDDEN], state[:, -1:]
    zs, rewards, discounts, entropies = [z], [], [], []
    for t in range(H):
        o = z[:, :O]
        if rule == "abcd":
            h = jnp.tanh(jnp.einsum("bij,bj->bi", W1, o))
        else:
            d = (o - previous) / jax.lax.stop_gradient(phi["input.delta_scale"]) * (1 - first)[:, None]
            x = jnp.concatenate([o, d], -1)
            h = jnp.tanh(x @ phi["layer1.W"].T)
        a = jnp.tanh(jnp.einsum("bij,bj->bi", W2, h))
        q = (1 + a) / 2
        entropies.append(-(q * jnp.log(q) + (1 - q) * jnp.log(1 - q)).sum(-1))
        if rule == "abcd":
            for l, (W, pre, post) in enumerate(((W1, o, h), (W2, h, a)), 1):
                c = {k: ETA * phi[f"layer{l}.eta"] * phi[f"layer{l}.{k}"] for k in "ABCD"}
                pre, post = pre[:, None, :], post[:, :, None]
                W = bound(W + c["A"] * pre * post + c["B"] * pre + c["C"] * post + c["D"])
                W1, W2 = (W, W2) if l == 1 else (W1, W)
        else:
            M = jnp.tanh(x @ phi["layer2.m_x"] + h @ phi["layer2.m_h"])[:, None, None]
            c = {k: ETA * phi["layer2.eta"] * phi[f"layer2.{k}"] for k in "ABCD"}
            pre, post = old_pre[:, None, :], old_post[:, :, None]
            W2 = bound(W2 + M * (c["A"] * pre * post + c["B"] * pre + c["C"] * post + c["D"]))
            old_pre, old_post = h, a
        previous, first = o, 0 * first
        i = jnp.concatenate([z, a], -1)
        y = jnp.concatenate([mlp(p, f"member{(k + t) % K}", i[k * B // K : (k + 1) * B // K]) for k in range(K)])
        z = jnp.concatenate([jnp.clip(o + y[:, :O] * p["delta_scale"], -1, 1), z[:, O:]], -1)
        zs.append(z)
        rewards.append(jnp.clip(y[:, O], REWARD_LO, REWARD_HI))
        discounts.append(GAMMA * jax.nn.sigmoid(y[:, O + 1]))
    values = [jnp.clip(mlp(slow, "critic", zz)[:, 0], min(0, REWARD_LO), max(0, REWARD_HI)) for zz in zs[1:]]
    ws = []
    for t in range(H):
        ws.append(w)
        w = w * jax.lax.stop_gradient(discounts[t])
    R, returns = values[-1], []
    for t in reversed(range(H)):
        ahead = values[t] if t == H - 1 else (1 - LAMBDA) * values[t] + LAMBDA * R
        R = (1 - GAMMA) * rewards[t] + discounts[t] * ahead
        returns.insert(0, R)
    ws, returns = jnp.stack(ws), jnp.stack(returns)
    scale = 0.1 / (1 - GAMMA)
    loss = -scale * (ws * returns).mean() - scale * ENTROPY * (ws * jnp.stack(entropies)).mean()
    return loss, (jnp.concatenate(zs[:-1]), returns.reshape(-1), ws.reshape(-1))


# ---- the recurrent state-space model, in the size `nano`

D, HID, S_VARS, CLASSES, U = 96, 96, 8, 8, 96
SEQUENCES, STEPS, UNIMIX, OBS_WEIGHT, CONT_WEIGHT = 3, 4, 0.002, 20.0, 5.0
Z_LATENT = S_VARS * CLASSES
FEAT = D + Z_LATENT
BINS = np.concatenate([-np.expm1(np.linspace(20, 0, 128)), np.expm1(np.linspace(0, 20, 128))[1:]])  # 255, the middle one 0


class Philox:
    """Uniform numbers of a stream, as the system's generator gives them (Salmon et al. 2011, Philox4x32-10)."""

    def __init__(self, seed, purpose):
        k = self.block((purpose, 0, 0, 0x48574D31), (seed & 0xFFFFFFFF, seed >> 32))
        self.key, self.at, self.words = (k[0], k[1]), 0, []

    @staticmethod
    def block(counter, key):
        c0, c1, c2, c3 = counter
        k0, k1 = key
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
            c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
            k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
        return c0, c1, c2, c3

    def uniform(self, n):
        while len(self.words) < n:
            self.words += self.block((self.at, 0, 0, 0), self.key)
            self.at += 1
        out, self.words = self.words[:n], self.words[n:]
        return np.array([(w >> 8) * 2.0**-24 for w in out])


def layer_shapes(name, i, o):
    return [(f"{name}/weight", (o, i)), (f"{name}/bias", (o,)), (f"{name}/gain", (o,))]


def head_shapes(name, i, layers, units, out):
    s = []
    for l in range(layers):
        s += layer_shapes(f"{name}/{l}", i if l == 0 else units, units)
    return s + ([(f"{name}/out/weight", (out, units)), (f"{name}/out/bias", (out,))] if out else [])


def rssm_shapes():
    s = head_shapes("encoder", O, 3, U, 0)
    s += layer_shapes("dynamics/deter", D, HID) + layer_shapes("dynamics/stoch", Z_LATENT, HID) + layer_shapes("dynamics/action", A, HID)
    s += layer_shapes("dynamics/hidden", D + 3 * HID, D) + [("dynamics/gates/weight", (3 * D, D)), ("dynamics/gates/bias", (3 * D,))]
    s += head_shapes("prior", D, 2, HID, Z_LATENT) + head_shapes("posterior", D + U, 1, HID, Z_LATENT)
    s += head_shapes("decoder", FEAT, 3, U, O) + head_shapes("reward", FEAT, 1, U, 255) + head_shapes("continue", FEAT, 1, U, 1)
    s += head_shapes("change", FEAT + O, 3, U, O)
    return s + [("obs_unit", (O,)), ("obs_min", (O,)), ("obs_max", (O,)), ("reward_range", (2,)), ("refreshed", (1,))]


def rssm_values():
    flat = 0.6 * v(2, sum(int(np.prod(s)) for _, s in rssm_shapes()))
    tail = [0.5 + 0.1 * j for j in range(O)] + [-1.0] * O + [1.0] * O + [REWARD_LO, REWARD_HI, 1.0]
    flat[-len(tail) :] = tail
    return flat


def symlog(x):
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def layer(p, name, x):
    x = x @ p[f"{name}/weight"].T + p[f"{name}/bias"]
    return jax.nn.silu(x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-4) * p[f"{name}/gain"])


def head(p, name, x):
    l = 0
    while f"{name}/{l}/weight" in p:
        x = layer(p, f"{name}/{l}", x)
        l += 1
    return x @ p[f"{name}/out/weight"].T + p[f"{name}/out/bias"] if f"{name}/out/weight" in p else x


def categorical(logits):
    q = jax.nn.softmax(logits.reshape(logits.shape[0], S_VARS, CLASSES), -1)
    return ((1 - UNIMIX) * q + UNIMIX / CLASSES).reshape(logits.shape)


def draw(q, u):
    """One-hot of the first class whose cumulative probability exceeds u; the gradient goes straight through."""
    groups = q.reshape(-1, S_VARS, CLASSES)
    pick = jnp.minimum((jnp.cumsum(groups, -1) <= u[..., None]).sum(-1), CLASSES - 1)
    return jax.lax.stop_gradient(jax.nn.one_hot(pick, CLASSES).reshape(q.shape) - q) + q


def kl(a, b):
    return (a * (jnp.log(a) - jnp.log(b))).sum(-1)


def rssm_batch():
    first, terminal, valid = np.zeros((SEQUENCES, STEPS)), np.zeros((SEQUENCES, STEPS)), np.ones((SEQUENCES, STEPS))
    first[1, 0] = first[0, 2] = terminal[1, 3] = 1
    valid[2, 3] = 0
    n = SEQUENCES * STEPS
    return (0.6 * v(9, n * O).reshape(SEQUENCES, STEPS, O), v(10, n * A).reshape(SEQUENCES, STEPS, A),
            0.5 * v(11, n).reshape(SEQUENCES, STEPS), first, terminal, valid)


def rssm_loss(flat, draws):
    p = unflatten(flat, rssm_shapes())
    obs, action, reward, first, terminal, valid = rssm_batch()
    unit = jax.lax.stop_gradient(p["obs_unit"])
    deter, stoch = jnp.zeros((SEQUENCES, D)), jnp.zeros((SEQUENCES, Z_LATENT))
    terms = {k: 0.0 for k in ("obs", "reward", "continue", "dyn", "rep", "change", "kl")}
    for t in range(STEPS):
        keep = ((first[:, t] == 0) * (t > 0) * 1.0)[:, None]
        a = action[:, t - 1] * keep if t > 0 else np.zeros((SEQUENCES, A))
        deter, stoch = deter * keep, stoch * keep
        parts = [layer(p, "dynamics/deter", deter), layer(p, "dynamics/stoch", stoch),
                 layer(p, "dynamics/action", a / np.maximum(1, np.abs(a)))]
        g = layer(p, "dynamics/hidden", jnp.concatenate([deter] + parts, -1)) @ p["dynamics/gates/weight"].T + p["dynamics/gates/bias"]
        r, c, u = g[:, :D], g[:, D : 2 * D], g[:, 2 * D :]
        u = jax.nn.sigmoid(u - 1)
        deter = u * jnp.tanh(jax.nn.sigmoid(r) * c) + (1 - u) * deter
        o = obs[:, t] / unit
        post = categorical(head(p, "posterior", jnp.concatenate([deter, head(p, "encoder", symlog(o))], -1)))
        stoch = draw(post, draws[t])
        prior = categorical(head(p, "prior", deter))
        feat = jnp.concatenate([deter, stoch], -1)
        w = valid[:, t]
        n = SEQUENCES * STEPS
        terms["obs"] += (w * ((head(p, "decoder", feat) - symlog(o)) ** 2).sum(-1)).sum() / n
        logits = jax.nn.log_softmax(head(p, "reward", feat), -1)
        k = np.searchsorted(BINS, reward[:, t], side="right") - 1
        upper = (reward[:, t] - BINS[k]) / (BINS[k + 1] - BINS[k])
        rows = np.arange(SEQUENCES)
        terms["reward"] += -(w * ((1 - upper) * logits[rows, k] + upper * logits[rows, k + 1])).sum() / n
        y = 1 - terminal[:, t]
        terms["continue"] += (w * np.where(y == 0, CONT_WEIGHT, 1.0) * bce(head(p, "continue", feat)[:, 0], y)).sum() / n
        stop = jax.lax.stop_gradient
        terms["dyn"] += (w * jnp.maximum(1.0, kl(stop(post), prior))).sum() / n
        terms["rep"] += (w * jnp.maximum(1.0, kl(post, stop(prior)))).sum() / n
        terms["kl"] += (w * kl(post, prior)).sum() / n
        if t > 0:
            before = obs[:, t - 1] / unit
            d = head(p, "change", jnp.concatenate([feat, symlog(before)], -1)) - 10 * (o - before)
            terms["change"] += (w * valid[:, t - 1] * keep[:, 0] * (d**2).sum(-1)).sum() / n
    total = (OBS_WEIGHT * terms["obs"] + terms["reward"] + terms["continue"] + terms["dyn"] + 0.1 * terms["rep"] + terms["change"])
    return total, terms


def digest(flat):
    """Of every tensor: its size, and its product with numbers that both sides know."""
    out, at = [], 0
    for _, shape in rssm_shapes():
        n = int(np.prod(shape))
        x = flat[at : at + n]
        out.append([float(np.sqrt((x * x).sum())), float((x * v(13, n)).sum())])
        at += n
    return out


def rssm_case():
    random = Philox(0, 14)
    draws = lambda: random.uniform(SEQUENCES * STEPS * S_VARS).reshape(STEPS, SEQUENCES, S_VARS)
    p0 = rssm_values()
    gradient_of = jax.jit(jax.grad(lambda p, u: rssm_loss(p, u)[0]))
    first = draws()
    (total, terms), gradient = jax.value_and_grad(rssm_loss, has_aux=True)(p0, first)
    p3, norms = adam(p0, lambda p: gradient_of(p, draws()), 1e-3, 1.0)
    return {
        "name": "rssm",
        "model": {"entries": [f"{n} {'x'.join(map(str, s))}" for n, s in rssm_shapes()], "total": float(total), "obs": float(terms["change"]),
                  "reward": float(terms["reward"]), "continue": float(terms["continue"]), "kl": float(terms["kl"]), "norms": norms,
                  "gradient": digest(np.asarray(gradient)), "change": digest(p3 - p0)},
    }


def case(name, rule, context):
    Z = O + (CODE if context else 0)
    loss = lambda p: model_loss(p, context)
    p0 = model_values(context)
    (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(p0)
    p3, norms = adam(p0, jax.grad(lambda p: loss(p)[0]), 1e-3, 1.0)
    actor = lambda q: imagine(q, rule, context)
    q0 = phi_values(rule)
    (a_loss, (X, R, w)), a_gradient = jax.value_and_grad(actor, has_aux=True)(q0)
    q3, a_norms = adam(q0, jax.grad(lambda q: actor(q)[0]), 3e-3, 0.05)
    shapes = critic_shapes(Z)
    c0 = 0.3 * v(3, sum(int(np.prod(s)) for _, s in shapes))
    c_loss = lambda c: (w * (mlp(unflatten(c, shapes), "critic", X)[:, 0] - R) ** 2).mean()
    c3, _ = adam(c0, jax.grad(lambda c: 100 * c_loss(c)), 1e-3, 0)
    text = lambda shapes: [f"{n} {'x'.join(map(str, s))}" for n, s in shapes]
    return {
        "name": name,
        "model": {"entries": text(model_shapes(context)), "total": float(total), "obs": float(parts[0]), "reward": float(parts[1]),
                  "continue": float(parts[2]), "norms": norms, "gradient": np.asarray(gradient).tolist(), "after": p3.tolist()},
        "controller": {"entries": text(phi_shapes(rule)), "loss": float(a_loss), "norms": a_norms,
                       "gradient": np.asarray(a_gradient).tolist(), "after": q3.tolist(), "returns": np.asarray(R).tolist(),
                       "weights": np.asarray(w).tolist()},
        "critic": {"entries": text(shapes), "loss": float(c_loss(c0)), "after": c3.tolist()},
    }


if __name__ == "__main__":
    cases = [case("ensemble, abcd", "abcd", False), case("context, mod3", "mod3", True), rssm_case()]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(cases, f, indent=None, separators=(",", ":"))
        f.write("\n")
    print(path, [c["model"]["total"] for c in cases])
