"""One update of the RSSM agent in PyTorch: the same network, batch, imagination, losses and optimiser as bench_nn's whole updates,
written as a PyTorch port would write it (eager, loops over time), to time beside it.

usage: agent_torch.py size1m|size12m [UPDATES]      needs: pip install torch numpy
"""

import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIZES = {"size1m": (512, 64, 4, 64), "size12m": (2048, 256, 16, 256)}
S, G, BATCH, LENGTH, HORIZON, OBS, ACTION, BINS = 32, 8, 16, 64, 15, 5, 1, 255
LAMBDA, SLOW, LR = 0.95, 0.02, 4e-5
UP = torch.expm1(torch.linspace(0.0, 20.0, 128))
BIN = torch.cat([-UP.flip(0), UP[1:]])


def symlog(x):
    return torch.sign(x) * torch.log1p(torch.abs(x))


def matrix(out, width, fan, scale=1.0):
    w = nn.init.trunc_normal_(torch.empty(out, width), 0, 1, -2, 2)
    return nn.Parameter(scale * 1.1368 * w / fan**0.5)


class Blocks(nn.Module):
    def __init__(self, width, out, blocks=1):
        super().__init__()
        self.w = nn.Parameter(matrix(out, width // blocks, width).detach().reshape(blocks, out // blocks, -1))
        self.b = nn.Parameter(torch.zeros(out))

    def forward(self, x):
        g = self.w.shape[0]
        if g == 1:
            return F.linear(x, self.w[0], self.b)
        y = torch.bmm(x.reshape(x.shape[0], g, -1).transpose(0, 1), self.w.transpose(1, 2))
        return y.transpose(0, 1).reshape(x.shape[0], -1) + self.b


class Layer(nn.Module):
    def __init__(self, width, out, blocks=1):
        super().__init__()
        self.linear, self.g = Blocks(width, out, blocks), nn.Parameter(torch.ones(out))

    def forward(self, x):
        y = self.linear(x)
        return F.silu(y * torch.rsqrt(torch.mean(y * y, -1, keepdim=True) + 1e-4) * self.g)


class Head(nn.Module):
    def __init__(self, width, depth, units, out, scale):
        super().__init__()
        self.layers = nn.Sequential(*[Layer(width if i == 0 else units, units) for i in range(depth)])
        self.w, self.b = matrix(out, units, units, scale), nn.Parameter(torch.zeros(out))

    def forward(self, x):
        return F.linear(self.layers(x), self.w, self.b)


class Model(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.D, H, self.C, U = SIZES[name]
        Z, W = S * self.C, self.D + S * self.C
        self.encoder = nn.Sequential(*[Layer(OBS if i == 0 else U, U) for i in range(3)])
        self.deter, self.stoch, self.action = Layer(self.D, H), Layer(Z, H), Layer(ACTION, H)
        self.hidden = Layer(self.D + G * 3 * H, self.D, G)
        self.gates = Blocks(self.D, 3 * self.D, G)
        self.prior, self.posterior = Head(self.D, 2, H, Z, 1.0), Head(self.D + U, 1, H, Z, 1.0)
        self.decoder, self.reward, self.cont = Head(W, 3, U, OBS, 1.0), Head(W, 1, U, BINS, 0.0), Head(W, 1, U, 1, 1.0)

    def recur(self, deter, stoch, action):
        a = action / torch.clamp(torch.abs(action), min=1.0).detach()
        shared = torch.cat([self.deter(deter), self.stoch(stoch), self.action(a)], -1)
        n = deter.shape[0]
        x = torch.cat([deter.reshape(n, G, -1), shared[:, None].expand(n, G, shared.shape[1])], -1).reshape(n, -1)
        z = self.gates(self.hidden(x)).reshape(n, G, 3, -1)
        r, c, u = (z[:, :, i].reshape(n, -1) for i in range(3))
        u = torch.sigmoid(u - 1)
        return u * torch.tanh(torch.sigmoid(r) * c) + (1 - u) * deter

    def categorical(self, logits):
        return 0.99 * torch.softmax(logits.reshape(logits.shape[0], S, self.C), -1) + 0.01 / self.C


def one_hot(p):
    draw = torch.rand(*p.shape[:2], 1)
    index = (p.detach().cumsum(-1) < draw).sum(-1).clamp(max=p.shape[-1] - 1)
    return (F.one_hot(index, p.shape[-1]) + p - p.detach()).reshape(p.shape[0], -1)


def twohot_mean(logits):
    p = torch.softmax(logits, -1)
    return p[:, 127] * BIN[127] + (p[:, :127].flip(1) * BIN[:127].flip(0) + p[:, 128:] * BIN[128:]).sum(-1)


def twohot_loss(logits, target):
    above = torch.searchsorted(BIN, target).clamp(1, BINS - 1)
    low, high = BIN[above - 1], BIN[above]
    share = ((target - low) / (high - low)).clamp(0, 1)
    log_p = torch.log_softmax(logits, -1)
    at = lambda i: log_p.gather(1, i[:, None])[:, 0]
    return -(share * at(above) + (1 - share) * at(above - 1))


def kl(p, q):
    return (p * (torch.log(p) - torch.log(q))).sum((-1, -2))


def returns(reward, cont, value):
    out, after = [], value[-1]
    for t in range(len(reward) - 1, 0, -1):
        after = reward[t] + cont[t] * ((1 - LAMBDA) * value[t] + LAMBDA * after)
        out.append(after)
    return torch.stack(out[::-1])


def loss(model, policy, value, slow, batch):
    T, N = batch["reward"].shape
    tokens = model.encoder(symlog(batch["obs"]).reshape(T * N, -1)).reshape(T, N, -1)
    deter, stoch, rows = torch.zeros(N, model.D), torch.zeros(N, S * model.C), []
    for t in range(T):
        keep = batch["keep"][t][:, None]
        deter = model.recur(deter * keep, stoch * keep, batch["action"][t] * keep)
        p = model.categorical(model.posterior(torch.cat([deter, tokens[t]], -1)))
        stoch = one_hot(p)
        rows.append((deter, stoch, p))
    deter, stoch, posterior = (torch.cat(x) for x in zip(*rows))
    feat = torch.cat([deter, stoch], -1)
    prior = model.categorical(model.prior(deter))
    total = ((model.decoder(feat) - symlog(batch["obs"]).reshape(T * N, -1)) ** 2).sum(-1).mean()
    total = total + twohot_loss(model.reward(feat), batch["reward"].reshape(-1)).mean()
    logit = model.cont(feat)[:, 0]
    total = total + (F.softplus(logit) - batch["cont"].reshape(-1) * logit).mean()
    total = total + kl(posterior.detach(), prior).clamp(min=1.0).mean() + 0.1 * kl(posterior, prior.detach()).clamp(min=1.0).mean()

    feats, actions = [], []
    with torch.no_grad():
        d, s = deter.detach(), stoch.detach()
        for t in range(HORIZON + 1):
            feats.append(torch.cat([d, s], -1))
            if t == HORIZON:
                break
            dist = policy(feats[-1])
            actions.append(torch.tanh(dist[:, :ACTION]) + (0.9 * torch.sigmoid(dist[:, ACTION:] + 2) + 0.1) * torch.randn(T * N, ACTION))
            d = model.recur(d, s, actions[-1])
            s = one_hot(model.categorical(model.prior(d)))
        flat = torch.cat(feats)
        shape = (HORIZON + 1, T * N)
        reward, cont = twohot_mean(model.reward(flat)).reshape(shape), torch.sigmoid(model.cont(flat)).reshape(shape)
        slow_value = twohot_mean(slow(flat)).reshape(shape)
    logits = value(flat)
    with torch.no_grad():
        v = twohot_mean(logits).reshape(shape)
        R = returns(reward, cont, v)
        w = torch.cumprod(cont, 0)[:-1].reshape(-1)
        ordered = R.reshape(-1).sort()[0]
        scale = max(1.0, float(ordered[int(0.95 * len(ordered))] - ordered[int(0.05 * len(ordered))]))
        advantage = ((R - v[:-1]) / scale).reshape(-1)
    n = HORIZON * T * N
    dist = policy(flat[:n])
    mean, std = torch.tanh(dist[:, :ACTION]), 0.9 * torch.sigmoid(dist[:, ACTION:] + 2) + 0.1
    log_prob = (-0.5 * ((torch.cat(actions) - mean) / std) ** 2 - torch.log(std)).sum(-1)
    total = total - (w * (log_prob * advantage + 3e-4 * torch.log(std).sum(-1))).mean()
    total = total + (w * (twohot_loss(logits[:n], R.reshape(-1)) + twohot_loss(logits[:n], slow_value[:-1].reshape(-1)))).mean()
    with torch.no_grad():
        carried = returns(batch["reward"], batch["cont"], R[0].reshape(T, N)).reshape(-1)
    replayed = value(feat[: (T - 1) * N])
    return total + 0.3 * (twohot_loss(replayed, carried) + twohot_loss(replayed, slow_value[0][: (T - 1) * N])).mean()


@torch.no_grad()
def optimise(params, state, t):
    """AGC, RMS, momentum."""
    for p, (v, m) in zip(params, state):
        g = p.grad / max(1.0, float(p.grad.norm()) / (0.3 * max(1e-3, float(p.norm()))))
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        m.mul_(0.9).add_(g / ((v / (1 - 0.999**t)).sqrt() + 1e-20), alpha=0.1)
        p.sub_(m, alpha=LR / (1 - 0.9**t))
        p.grad = None


def main(name, updates=5):
    torch.manual_seed(0)
    model = Model(name)
    width, U = model.D + S * model.C, SIZES[name][3]
    policy, value, slow = Head(width, 3, U, 2 * ACTION, 0.01), Head(width, 3, U, BINS, 0.0), Head(width, 3, U, BINS, 0.0)
    params = [*model.parameters(), *policy.parameters(), *value.parameters()]
    state = [(torch.zeros_like(p), torch.zeros_like(p)) for p in params]
    rng = np.random.default_rng(1)
    batch = {"obs": rng.uniform(-1, 1, (LENGTH, BATCH, OBS)), "action": rng.uniform(-1, 1, (LENGTH, BATCH, ACTION)), "reward": rng.uniform(0, 1, (LENGTH, BATCH)), "keep": np.ones((LENGTH, BATCH)), "cont": np.ones((LENGTH, BATCH))}  # fmt: skip
    batch = {k: torch.tensor(x, dtype=torch.float32) for k, x in batch.items()}
    seconds = []
    for i in range(updates + 1):  # the first one warms up
        start = time.perf_counter()
        total = loss(model, policy, value, slow, batch)
        total.backward()
        optimise(params, state, i + 1)
        with torch.no_grad():
            for a, b in zip(slow.parameters(), value.parameters()):
                a.lerp_(b, SLOW)
        seconds.append(time.perf_counter() - start)
    total = float(total.detach())
    assert np.isfinite(total), total
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"peer": f"torch {torch.__version__}", "size": name, "parameters": sum(p.numel() for p in params), "update_s": round(min(seconds[1:]), 3), "resident_gb": round(memory, 2), "loss": total}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
