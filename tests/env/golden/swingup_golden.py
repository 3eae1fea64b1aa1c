#!/usr/bin/env python3
"""Writes swingup.txt: an independent double-precision cart-pole on a rail, Runge-Kutta 4 at 10 ms, away from the rail's ends.

Constants of the DeepMind Control Suite's cart-pole; equations from the Lagrangian; moment of inertia of a solid capsule from
its definition (numerical integration of discs). One line per step: x theta x_dot theta_dot (before), action, the state after,
reward. Usage: python3 swingup_golden.py > swingup.txt
"""
import math
import random

CART, POLE, LENGTH, RADIUS, GEAR, G = 1.0, 0.1, 1.0, 0.045, 10.0, 9.81
RAIL_DAMPING, HINGE_DAMPING, DT = 5e-4, 2e-6, 0.01


def capsule_inertia():
    """About the middle, across the axis: discs of mass dm at height z, each r^2/4 + z^2."""
    n = 200000
    top = LENGTH / 2 + RADIUS
    h = 2 * top / n
    mass = inertia = 0.0
    for k in range(n):
        z = -top + (k + 0.5) * h
        over = max(0.0, abs(z) - LENGTH / 2)
        r2 = RADIUS * RADIUS - over * over
        mass += r2
        inertia += r2 * (r2 / 4 + z * z)
    return POLE * inertia / mass


CENTRE = LENGTH / 2
I_HINGE = capsule_inertia() + POLE * CENTRE * CENTRE


def derivative(s, force):
    x, th, v, w = s
    sn, cs = math.sin(th), math.cos(th)
    a11, a12, a22 = CART + POLE, POLE * CENTRE * cs, I_HINGE
    b1 = force + POLE * CENTRE * sn * w * w - RAIL_DAMPING * v
    b2 = POLE * G * CENTRE * sn - HINGE_DAMPING * w
    det = a11 * a22 - a12 * a12
    return [v, w, (b1 * a22 - a12 * b2) / det, (a11 * b2 - a12 * b1) / det]


def step(s, u):
    f = GEAR * u
    add = lambda a, k, h: [p + h * q for p, q in zip(a, k)]
    k1 = derivative(s, f)
    k2 = derivative(add(s, k1, DT / 2), f)
    k3 = derivative(add(s, k2, DT / 2), f)
    k4 = derivative(add(s, k3, DT), f)
    return [p + DT / 6 * (a + 2 * b + 2 * c + d) for p, a, b, c, d in zip(s, k1, k2, k3, k4)]


def reward(s, u):
    gauss = lambda x, margin: 0.1 ** ((x / margin) ** 2)
    upright = (math.cos(s[1]) + 1) / 2
    return upright * (1 + gauss(s[0], 2)) / 2 * (4 + 1 - u * u) / 5 * (1 + gauss(s[3], 5)) / 2


def main():
    r = random.Random(3)
    for _ in range(24):
        s = [r.uniform(-0.5, 0.5), r.uniform(-4, 4), r.uniform(-2, 2), r.uniform(-8, 8)]
        for k in range(12):
            u = round(r.uniform(-1, 1), 3)
            n = step(s, u)
            print(*[repr(v) for v in s], u, *[repr(v) for v in n], repr(reward(n, u)))
            s = n


main()
