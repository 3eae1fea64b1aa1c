"""The rules without transcendental functions in NumPy, float32, from the formulas of README and in the order of operations that
common/plastic/hebb.h promises. One row of one environment at a time; nothing here comes from the library.

State is a dict of the key frame's tensors, by name. A rule is a dict of the section's fields, with what is left out at its default.
"""

import numpy as np

f32 = np.float32
half, one = f32(0.5), f32(1)
DEFAULT = dict(terms="ABCD", modulator="default", bound="max_norm", oja=0.0, update_every=1, average=1, trace_decay=0.9, reward_rate=0.1,
               w_max=3.0, decay=0.01, eta=0.1, recurrent=False, granularity="synapse")
NAIVE = {"oja": 2, "bcm": 3}


class Rule:
    def __init__(self, inputs, sizes, kind, **fields):
        unknown = set(fields) - set(DEFAULT)
        assert not unknown, unknown
        self.inputs, self.sizes, self.kind = inputs, sizes, kind
        self.__dict__.update({**DEFAULT, **fields})
        defaults = {"mod3": "linear", "trace": "linear", "miconi": "reward"}
        self.modulator = self.modulator if self.modulator != "default" else defaults.get(kind, "none")
        assert self.modulator in ("none", "unit", "reward"), "tanh of this host is not that of the library"
        layers = range(len(sizes))
        # name, post and pre as indices of [x_0, x_1, ...]
        self.connections = [(f"layer{l + 1}", l + 1, l) for l in layers]
        if self.recurrent:
            self.connections += [(f"recurrent{l + 1}", l + 1, None) for l in layers[:-1]]

    def split(self, act):
        """x_0, the reward or None, x_1 .. x_L"""
        between = len(act) - self.inputs - sum(self.sizes)
        parts = np.split(act, np.cumsum([self.inputs, between] + self.sizes)[:-1])
        return [parts[0]] + parts[2:], parts[1][0] if between else None

    def coefficient(self, params, t, name, post, pre):
        """"A" .. "E" or "eta" of every synapse of a connection, whatever it is shared with."""
        absent = one if t == "eta" else f32(0)
        if self.granularity == "shared":
            return params[f"shared.{t}"][params[f"{name}.which"].astype(int)] if f"shared.{t}" in params else absent
        if self.granularity == "neuron":
            if f"unit.{t}" not in params:
                return absent
            ends = np.cumsum([0, self.inputs] + self.sizes)
            of = lambda layer: params[f"unit.{t}"][ends[layer] : ends[layer + 1]]
            to, at = of(post)[:, None], of(post if pre is None else pre)[None, :]
            both = (to + at) / f32(2) if t == "eta" else to * at
            return {"B": at + 0 * to, "C": to + 0 * at}.get(t, both)
        return params.get(f"{name}.{t}", absent)

    def planes(self, params):
        """Coefficients of one published version, per synapse: a, b, c, d; of miconi alpha and eta."""
        out = {}
        for name, post, pre in self.connections:
            get = lambda t: self.coefficient(params, t, name, post, pre)
            eta = f32(self.eta) * get("eta")
            if self.kind == "miconi":
                out[name] = (get("A"), eta)
            elif self.kind not in NAIVE:
                out[name] = tuple(eta * get(t) for t in "ABC") + (eta * get("D") + get("E"),)
        return out

    def factor(self, x, reward, mean):
        if self.modulator == "unit":
            return x[len(self.sizes) - 1][0]
        return reward - mean if self.modulator == "reward" else None

    def bound_w(self, s, name, key):
        w, w_max = s[f"{name}.{key}"], f32(self.w_max)
        if self.bound == "max_norm":
            over = np.abs(w).max() / w_max
            w = w * (one / over) if over > 1 else w
        elif self.bound == "clip":
            w = np.where(w > w_max, w_max, np.where(w < -w_max, -w_max, w))
        elif self.bound == "decay":
            w = w + f32(self.decay) * (s[f"{name}.W0"] - w)
        s[f"{name}.{key}"] = w

    def naive(self, s, name, x, y):
        c, w = s["naive"], s[f"{name}.W"]
        eta, X, Y = c[1], x[None, :], y[:, None]
        if self.kind == "oja":
            s[f"{name}.W"] = w + eta * (X * Y - Y * Y * w)
        else:
            theta = s[f"{name}.theta"]
            s[f"{name}.W"] = w + eta * (X * Y * (Y - theta[:, None]))
            s[f"{name}.theta"] = theta + c[4] * (y * y - theta)

    def learned(self, s, name, key, x, xb, y, M, planes):
        w, Y = s[f"{name}.{key}"], y[:, None]
        keep = np.maximum(half, one - f32(self.oja) * (Y * Y))
        if self.kind == "miconi":
            alpha, eta = planes
            change = eta * (x[None, :] * Y)
            change = change if M is None else M * change
            s[f"{name}.{key}"] = (one - eta) * (keep * w) + change
            return
        a, b, c, d = planes
        change = (x[None, :] * (a * Y) + b * xb[None, :]) + (c * Y + d)
        if self.kind == "trace":
            change = f32(self.trace_decay) * s[f"{name}.trace"] + change
            s[f"{name}.trace"] = change
        change = change if M is None else M * change
        s[f"{name}.{key}"] = (w * keep if self.oja else w) + change

    def step(self, s, act, action, planes):
        """One row that is neither an end nor still: s in place."""
        x, reward = self.split(act)
        mean = s.get("reward_mean")
        if mean is not None:
            s["reward_mean"] = mean + one * (f32(self.reward_rate) * (reward - mean))
        M = self.factor(x, reward, mean)
        phase = s.get("phase", f32(self.update_every - 1))
        updates = phase == self.update_every - 1
        key = "Hebb" if self.kind == "miconi" else "W"
        for name, post, pre in self.connections:
            x_pre = x[pre] if pre is not None else s[f"{name}.past"]
            # mod3 learns from what was done, not from what was wanted
            done = self.kind == "mod3" and post == len(self.sizes) and pre is not None
            y = action if done else x[post]
            if self.kind in NAIVE:
                self.naive(s, name, x_pre, y)
                self.bound_w(s, name, key)
                continue
            if self.average > 1:
                if phase >= self.update_every - self.average:
                    s[f"{name}.mean_pre"] = s[f"{name}.mean_pre"] + one * (x_pre / f32(self.average))
                    s[f"{name}.mean_post"] = s[f"{name}.mean_post"] + one * (y / f32(self.average))
                x_pre, y = s[f"{name}.mean_pre"], s[f"{name}.mean_post"]
            if not updates:
                continue
            now = (x_pre, y)
            xb = x_pre
            if self.kind in ("mod3", "shifted"):
                xb, y = s[f"{name}.old_pre"], s[f"{name}.old_post"]
                x_pre = xb if self.kind == "mod3" else x_pre
                s[f"{name}.old_pre"], s[f"{name}.old_post"] = now
            self.learned(s, name, key, x_pre, xb, y, M, planes[name])
            self.bound_w(s, name, key)
            if self.average > 1:
                s[f"{name}.mean_pre"], s[f"{name}.mean_post"] = np.zeros_like(now[0]), np.zeros_like(now[1])
        for name, post, pre in self.connections:
            if pre is None:
                s[f"{name}.past"] = x[post]
        if "phase" in s:
            s["phase"] = f32(0) if updates else phase + one
        if "naive" in s:
            s["naive"] = s["naive"].copy()
            s["naive"][7] += one
