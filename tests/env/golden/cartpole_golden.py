#!/usr/bin/env python3
"""Writes cartpole.txt: an independent double-precision cart-pole with the equations of Gymnasium's CartPole-v1.

Equations derived here from the Lagrangian by solving the 2x2 linear system for the accelerations, not by the eliminated
formula that the C code uses. One line per step: x x_dot theta theta_dot (before), action (-1 or +1), the state after,
terminated. Usage: python3 cartpole_golden.py > cartpole.txt
"""
import math
import random

M, m, l, g, F, dt = 1.0, 0.1, 0.5, 9.8, 10.0, 0.02
X, TH = 2.4, 12 * math.pi / 180


def accelerations(theta, w, force):
    # (M+m) x'' + m l cos(th) th'' = F + m l w^2 sin(th);   cos(th) x'' + 4/3 l th'' = g sin(th), signs for th from upright
    s, c = math.sin(theta), math.cos(theta)
    a11, a12, b1 = M + m, m * l * c, force + m * l * w * w * s
    a21, a22, b2 = c, 4 / 3 * l, g * s
    det = a11 * a22 - a12 * a21
    return (b1 * a22 - a12 * b2) / det, (a11 * b2 - a21 * b1) / det


def main():
    r = random.Random(7)
    for episode in range(16):
        wide = episode % 4 == 3
        s = [r.uniform(-0.05, 0.05) for _ in range(4)]
        if wide:
            s = [r.uniform(-2, 2), r.uniform(-3, 3), r.uniform(-0.2, 0.2), r.uniform(-3, 3)]
        for step in range(40):
            action = r.choice((-1, 1))
            if episode % 2 == 0:
                action = 1 if 0.3 * s[0] + s[1] * 0.5 + 10 * s[2] + 2 * s[3] > 0 else -1
            xa, ta = accelerations(s[2], s[3], F * action)
            n = [s[0] + dt * s[1], s[1] + dt * xa, s[2] + dt * s[3], s[3] + dt * ta]
            end = not (-X <= n[0] <= X and -TH <= n[2] <= TH)
            print(*[repr(v) for v in s], action, *[repr(v) for v in n], int(end))
            s = n
            if end:
                break


main()
