"""Independent NumPy implementation of the RSSM, its losses, returns and the optimiser; writes the fixtures that test_golden.c
compares with. Inputs are float32, all arithmetic is float64.

usage: reference.py DIRECTORY
"""

import json
import struct
import sys

import numpy as np

rng = np.random.default_rng(7)
D, H, C, U, S, G, O, A, N, T = 8, 4, 3, 4, 2, 2, 3, 2, 3, 4
Z = S * C
UNIMIX = 0.01


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


def random(*shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


# ---- parameters, by the names of the model

P = {}


def layer(name, fan_in, out, width=None):
    P[name + "/weight"] = random(out, width or fan_in, scale=0.5)
    P[name + "/bias"] = random(out, scale=0.2)
    P[name + "/gain"] = 1 + random(out, scale=0.2)


def head(name, fan_in, layers, units, out):
    for i in range(layers):
        layer(f"{name}/{i}", fan_in if i == 0 else units, units)
    if out:
        P[name + "/out/weight"] = random(out, units, scale=0.5)
        P[name + "/out/bias"] = random(out, scale=0.2)


head("encoder", O, 3, U, 0)
layer("dynamics/deter", D, H)
layer("dynamics/stoch", Z, H)
layer("dynamics/action", A, H)
layer("dynamics/hidden", 0, D, width=D // G + 3 * H)
P["dynamics/gates/weight"] = random(3 * D, D // G, scale=0.5)
P["dynamics/gates/bias"] = random(3 * D, scale=0.2)
head("prior", D, 2, H, Z)
head("posterior", D + U, 1, H, Z)
head("decoder", D + Z, 3, U, O)
head("reward", D + Z, 1, U, 255)
head("continue", D + Z, 1, U, 1)
W = {k: v.astype(np.float64) for k, v in P.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm_silu(x, gain):
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-4) * gain
    return y * sigmoid(y)


def apply_layer(name, x):
    return norm_silu(x @ W[name + "/weight"].T + W[name + "/bias"], W[name + "/gain"])


def apply_head(name, x, layers, out=True):
    for i in range(layers):
        x = apply_layer(f"{name}/{i}", x)
    return x @ W[name + "/out/weight"].T + W[name + "/out/bias"] if out else x


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


def categorical(logits):
    x = logits.reshape(*logits.shape[:-1], S, C)
    e = np.exp(x - x.max(-1, keepdims=True))
    p = (1 - UNIMIX) * e / e.sum(-1, keepdims=True) + UNIMIX / C
    return p.reshape(logits.shape)


def recur(deter, stoch, action):
    a = action / np.maximum(1, np.abs(action))
    shared = np.concatenate(
        [apply_layer("dynamics/deter", deter), apply_layer("dynamics/stoch", stoch), apply_layer("dynamics/action", a)], -1
    )
    groups = deter.reshape(-1, G, D // G)
    x = np.concatenate([groups, np.repeat(shared[:, None], G, 1)], -1)
    w = W["dynamics/hidden/weight"].reshape(G, D // G, -1)
    h = np.einsum("ngi,goi->ngo", x, w).reshape(-1, D) + W["dynamics/hidden/bias"]
    h = norm_silu(h, W["dynamics/hidden/gain"])
    w = W["dynamics/gates/weight"].reshape(G, 3 * D // G, -1)
    z = np.einsum("ngi,goi->ngo", h.reshape(-1, G, D // G), w) + W["dynamics/gates/bias"].reshape(G, -1)
    r, c, u = np.split(z, 3, -1)
    r = sigmoid(r)
    c = np.tanh(r * c)
    u = sigmoid(u - 1)
    return (u * c + (1 - u) * groups).reshape(-1, D)


def draw(p, uniform):
    p = p.reshape(-1, S, C)
    index = np.minimum((np.cumsum(p, -1) <= uniform[..., None]).sum(-1), C - 1)
    return np.eye(C)[index].reshape(-1, Z)


half = np.sign(np.linspace(-20, 0, 128)) * np.expm1(np.abs(np.linspace(-20, 0, 128)))
BINS = np.concatenate([half, -half[:-1][::-1]])


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def twohot_loss(logits, target):
    above = np.clip((BINS <= target[:, None]).sum(-1), 1, 254)
    lo, hi = BINS[above - 1], BINS[above]
    w = (target - lo) / (hi - lo)
    rows = np.arange(len(target))
    lp = log_softmax(logits)
    return -(1 - w) * lp[rows, above - 1] - w * lp[rows, above]


# ---- a batch, unrolled

batch = {
    "obs": random(T, N, O, scale=2),
    "action": random(T, N, A, scale=1.2),
    "reward": random(T, N, scale=3),
    "keep": np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]], np.float32),
    "cont": np.array([[0.997] * 3, [0.997, 0.997, 0], [0.997] * 3, [0, 0.997, 0.997]], np.float32),
    "weight": np.array([[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1]], np.float32),
    "draws": rng.uniform(size=(T, N, S)).astype(np.float32),
    "deter0": random(N, D, scale=0.5),
    "stoch0": np.eye(C)[rng.integers(0, C, (N, S))].reshape(N, Z).astype(np.float32),
}
B = {k: v.astype(np.float64) for k, v in batch.items()}
deter, stoch = B["deter0"], B["stoch0"]
tokens = apply_head("encoder", symlog(B["obs"]), 3, out=False)
all_deter, all_stoch, all_post = [], [], []
for t in range(T):
    keep = B["keep"][t][:, None]
    deter = recur(deter * keep, stoch * keep, B["action"][t] * keep)
    post = categorical(apply_head("posterior", np.concatenate([deter, tokens[t]], -1), 1))
    stoch = draw(post, B["draws"][t])
    all_deter.append(deter)
    all_stoch.append(stoch)
    all_post.append(post)
deter, stoch, post = (np.concatenate(x) for x in (all_deter, all_stoch, all_post))
prior = categorical(apply_head("prior", deter, 2))
feat = np.concatenate([deter, stoch], -1)
weight = B["weight"].reshape(-1)
kl = (post * (np.log(post) - np.log(prior))).sum(-1)
obs = ((apply_head("decoder", feat, 3) - symlog(B["obs"]).reshape(-1, O)) ** 2).sum(-1)
logits = apply_head("reward", feat, 1)
reward = twohot_loss(logits, B["reward"].reshape(-1))
logit = apply_head("continue", feat, 1)[:, 0]
cont = np.logaddexp(0, logit) - logit * B["cont"].reshape(-1)
mean = lambda x: (x * weight).sum() / len(weight)
free = mean(np.maximum(1.0, kl))
out = {
    "deter": deter,
    "stoch": stoch,
    "posterior": post,
    "prior": prior,
    "reward_mean": np.exp(log_softmax(logits)) @ BINS,
    "losses": np.array([mean(obs), mean(reward), mean(cont), mean(kl)]),
    "total": np.array([mean(obs) + mean(reward) + mean(cont) + 1.1 * free]),
}

# ---- returns

returns = {"r": random(6, 5), "c": rng.uniform(0, 1, (6, 5)).astype(np.float32), "V": random(6, 5, scale=3)}
r, c, V = (returns[k].astype(np.float64) for k in ("r", "c", "V"))
R = [V[-1]]
for t in reversed(range(5)):
    R.append(r[t + 1] + c[t + 1] * (0.05 * V[t + 1] + 0.95 * R[-1]))
returns["R"] = np.stack(R[1:][::-1])

# ---- LaProp with clipping per tensor, ten updates, warm-up over four

params = {"w": random(4, 3), "b": random(5, scale=1e-4)}
grads = {"grad_w": random(10, 4, 3, scale=4), "grad_b": random(10, 5, scale=0.5)}
grads["grad_b"][4:] *= 1e-12
after = {}
for name, p0 in params.items():
    p = p0.astype(np.float64)
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t in range(1, 11):
        g = grads["grad_" + name][t - 1].astype(np.float64)
        g = g / max(1.0, np.linalg.norm(g) / (0.3 * max(1e-3, np.linalg.norm(p))))
        v = 0.999 * v + 0.001 * g * g
        m = 0.9 * m + 0.1 * g / (np.sqrt(v / (1 - 0.999**t)) + 1e-20)
        p = p - 4e-3 * min(1.0, t / 4) * m / (1 - 0.9**t)
    after["after_" + name] = p

where = sys.argv[1]
write(f"{where}/rssm_params.safetensors", P)
write(f"{where}/rssm_batch.safetensors", batch)
write(f"{where}/rssm_expected.safetensors", out)
write(f"{where}/returns.safetensors", returns)
write(f"{where}/laprop.safetensors", {**params, **grads, **after})
