"""Golden numbers of one update of everything, from an independent implementation: JAX in double precision, with its own
differentiation. Writes golden.json beside this file; test_golden.c compares the learner's double build against it.

usage: python golden.py          (needs jax and numpy from PyPI)
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
    """Three updates on the gradients that `grads` gives; the last entries of a list without gradient stay."""
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
    cases = [case("ensemble, abcd", "abcd", False), case("context, mod3", "mod3", True)]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(cases, f, indent=None, separators=(",", ":"))
        f.write("\n")
    print(path, [c["controller"]["loss"] for c in cases])
