#!/usr/bin/env python3
"""Writes pendulum.txt and acrobot.txt beside this file: independent double-precision implementations of the equations of
Gymnasium's Pendulum-v1 and Acrobot-v1. The acrobot's accelerations come from its mass matrix, solved per step.

pendulum.txt: theta theta_dot, action in [-1, 1], the state after, reward
acrobot.txt:  th1 th2 w1 w2, choice 0..2, the state after, reward, terminated
"""
import math
import os
import random

HERE = os.path.dirname(os.path.abspath(__file__))


def pendulum(f):
    r = random.Random(1)
    for _ in range(12):
        th, w = r.uniform(-9, 9), r.uniform(-8, 8)
        for _ in range(15):
            a = round(r.uniform(-1, 1), 3)
            u = 2 * a
            angle = math.atan2(math.sin(th), math.cos(th))
            reward = -(angle**2 + 0.1 * w**2 + 0.001 * u**2)
            # a rod about its end: inertia m l^2 / 3, weight at its middle
            acceleration = (1 * 10 * 0.5 * math.sin(th) + u) / (1 / 3)
            w2 = max(-8.0, min(8.0, w + 0.05 * acceleration))
            th2 = th + 0.05 * w2
            print(repr(th), repr(w), a, repr(th2), repr(w2), repr(reward), file=f)
            th, w = th2, w2


def acrobot_accelerations(s, torque):
    th1, th2, w1, w2 = s
    m, l, lc, inertia, g = 1.0, 1.0, 0.5, 1.0, 9.8
    c2, s2 = math.cos(th2), math.sin(th2)
    m11 = m * lc**2 + m * (l**2 + lc**2 + 2 * l * lc * c2) + 2 * inertia
    m12 = m * (lc**2 + l * lc * c2) + inertia
    m22 = m * lc**2 + inertia
    # Coriolis and centrifugal, then weight; hanging is 0
    h = m * l * lc * s2
    b1 = h * w2**2 + 2 * h * w1 * w2 - (m * lc + m * l) * g * math.sin(th1) - m * lc * g * math.sin(th1 + th2)
    b2 = torque - h * w1**2 - m * lc * g * math.sin(th1 + th2)
    det = m11 * m22 - m12 * m12
    return [w1, w2, (b1 * m22 - m12 * b2) / det, (m11 * b2 - m12 * b1) / det]


def acrobot(f):
    r = random.Random(2)
    wrap = lambda x: math.atan2(math.sin(x), math.cos(x))
    clip = lambda x, b: max(-b, min(b, x))
    for episode in range(14):
        wide = episode % 2
        s = [r.uniform(-3, 3) if wide else r.uniform(-0.1, 0.1) for _ in range(2)]
        s += [r.uniform(-6, 6) if wide else r.uniform(-0.1, 0.1) for _ in range(2)]
        for _ in range(15):
            choice = r.randrange(3)
            d = lambda q: acrobot_accelerations(q, choice - 1)
            add = lambda q, k, h: [a + h * b for a, b in zip(q, k)]
            k1 = d(s)
            k2 = d(add(s, k1, 0.1))
            k3 = d(add(s, k2, 0.1))
            k4 = d(add(s, k3, 0.2))
            n = [a + 0.2 / 6 * (p + 2 * q + 2 * t + u) for a, p, q, t, u in zip(s, k1, k2, k3, k4)]
            n = [wrap(n[0]), wrap(n[1]), clip(n[2], 4 * math.pi), clip(n[3], 9 * math.pi)]
            end = -math.cos(n[0]) - math.cos(n[0] + n[1]) > 1
            print(*[repr(v) for v in s], choice, *[repr(v) for v in n], 0 if end else -1, int(end), file=f)
            s = n
            if end:
                break


with open(os.path.join(HERE, "pendulum.txt"), "w") as out:
    pendulum(out)
with open(os.path.join(HERE, "acrobot.txt"), "w") as out:
    acrobot(out)
