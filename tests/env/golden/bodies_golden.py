#!/usr/bin/env python3
"""Writes bodies.txt: what the MuJoCo bodies weigh, how they resist turning, bend and pull, from published constants.

The constants are those of Gymnasium's Ant, HalfCheetah, Hopper and Walker2d (version 5) and of the DeepMind Control Suite's
cart-pole and pendulum, entered here a second time and in their own terms: where the ends of every capsule are in the world.
Masses and moments follow from the integrals over solid capsules, not from MuJoCo.

option    MODEL step_s gravity integrator(0 Euler, 1 RK4)
body      MODEL NAME mass, centre of mass in the world (3), tensor of inertia about it (xx yy zz xy xz yz)
joint     MODEL NAME stiffness damping armature low high; low = high: no limits; a hinge in radians
geom      MODEL NAME sliding friction, radius
actuator  MODEL NAME gear

Usage: python3 bodies_golden.py > bodies.txt
"""
import math

import numpy as np

rad = math.radians


def capsule(a, b, r):
    """Volume, centre and inertia tensor (unit density) of the points within r of the segment from a to b."""
    a, b = np.array(a, float), np.array(b, float)
    length = np.linalg.norm(b - a)
    u = (b - a) / length if length > 0 else np.array([0, 0, 1.0])
    # discs of thickness dz: radius rho(z); Gauss-Legendre per piece, exact for these polynomials
    x, w = np.polynomial.legendre.leggauss(6)
    volume = along = across = 0.0
    for low, high in ((-length / 2 - r, -length / 2), (-length / 2, length / 2), (length / 2, length / 2 + r)):
        for z, dz in zip((x + 1) / 2 * (high - low) + low, w * (high - low) / 2):
            over = max(0.0, abs(z) - length / 2)
            rho2 = r * r - over * over
            dv = math.pi * rho2 * dz
            volume += dv
            along += dv * rho2 / 2
            across += dv * (rho2 / 4 + z * z)
    return volume, (a + b) / 2, across * np.eye(3) + (along - across) * np.outer(u, u)


def together(parts):
    """Mass, centre and tensor of parts [(mass, centre, tensor), ...]."""
    mass = sum(p[0] for p in parts)
    centre = sum(p[0] * p[1] for p in parts) / mass
    tensor = np.zeros((3, 3))
    for m, c, t in parts:
        d = c - centre
        tensor += t + m * (d @ d * np.eye(3) - np.outer(d, d))
    return mass, centre, tensor


def body_row(model, name, part):
    m, c, t = part
    print("body", model, name, *(f"{v:.12g}" for v in (m, *c, t[0, 0], t[1, 1], t[2, 2], t[0, 1], t[0, 2], t[1, 2])))


def rows(kind, model, table):
    for name, *values in table:
        print(kind, model, name, *(f"{v:.12g}" for v in values))


def solid(density, *capsules):
    return together([(density * v, c, density * t) for v, c, t in (capsule(*k) for k in capsules)])


def weighing(mass, a, b, r):
    v, c, t = capsule(a, b, r)
    return mass, c, t * (mass / v)


def hopper_and_walker():
    """Gymnasium states their capsules by their ends, standing."""
    def leg(model, suffix, foot_end, foot_from, foot_friction):
        for name, a, b, r in (("thigh", (0, 0, 1.05), (0, 0, 0.6), 0.05), ("shin", (0, 0, 0.6), (0, 0, 0.1), 0.04),
                              ("foot", (foot_from, 0, 0.1), (foot_end, 0, 0.1), 0.06)):
            body_row(model, name + suffix, solid(1000, (a, b, r)))
            rows("geom", model, [(name + suffix, foot_friction if name == "foot" else 0.9, r)])

    for model, sides, armature, damping, gear, foot in (
        ("hopper", [""], 1, 1, 200, (0.26, -0.13, 2)),
        ("walker", ["_right", "_left"], 0.01, 0.1, 100, (0.2, 0, 1.9)),
    ):
        print("option", model, 0.002, -9.81, 1)
        body_row(model, "torso", solid(1000, ((0, 0, 1.45), (0, 0, 1.05), 0.05)))
        rows("geom", model, [("torso", 0.9, 0.05)])
        rows("joint", model, [(n, 0, 0, 0, 0, 0) for n in ("root_x", "root_z", "root_turn")])
        for side in sides:
            leg(model, side, *foot)
            rows("joint", model, [(n + side, 0, damping, armature, rad(low), rad(high))
                                  for n, low, high in (("thigh", -150, 0), ("shin", -150, 0), ("foot", -45, 45))])
            rows("actuator", model, [(n + side, gear) for n in ("thigh", "shin", "foot")])


def halfcheetah():
    """Capsules by middle, half length and angle about y; the whole is scaled to 14 kg."""
    r = 0.046

    def lying(origin, middle, half, angle):
        u = np.array([math.sin(angle), 0, math.cos(angle)])
        c = np.add(origin, middle)
        return tuple(c - half * u), tuple(c + half * u), r

    torso = np.array([0, 0, 0.7])
    back = [torso + [-0.5, 0, 0]]
    back += [back[0] + [0.16, 0, -0.25]]
    back += [back[1] + [-0.28, 0, -0.14]]
    front = [torso + [0.5, 0, 0]]
    front += [front[0] + [-0.14, 0, -0.24]]
    front += [front[1] + [0.13, 0, -0.18]]
    parts = {
        "torso": [(tuple(torso + [-0.5, 0, 0]), tuple(torso + [0.5, 0, 0]), r), lying(torso, [0.6, 0, 0.1], 0.15, 0.87)],
        "back_thigh": [lying(back[0], [0.1, 0, -0.13], 0.145, -3.8)],
        "back_shin": [lying(back[1], [-0.14, 0, -0.07], 0.15, -2.03)],
        "back_foot": [lying(back[2], [0.03, 0, -0.097], 0.094, -0.27)],
        "front_thigh": [lying(front[0], [-0.07, 0, -0.12], 0.133, 0.52)],
        "front_shin": [lying(front[1], [0.065, 0, -0.09], 0.106, -0.6)],
        "front_foot": [lying(front[2], [0.045, 0, -0.07], 0.07, -0.6)],
    }
    density = 14 / sum(solid(1, *p)[0] for p in parts.values())
    # as users of HalfCheetah print body_mass
    published = [6.25020921, 1.54351464, 1.5874477, 1.09539749, 1.43807531, 1.20083682, 0.88451883]
    print("option", "halfcheetah", 0.01, -9.81, 0)
    for (name, p), mass in zip(parts.items(), published):
        part = solid(density, *p)
        assert abs(part[0] - mass) < 1e-7, (name, part[0])
        body_row("halfcheetah", name, part)
        rows("geom", "halfcheetah", [(name, 0.4, r)])
    rows("joint", "halfcheetah", [(n, 0, 0, 0, 0, 0) for n in ("root_x", "root_z", "root_turn")])
    rows("joint", "halfcheetah", [
        ("back_thigh", 240, 6, 0.1, -0.52, 1.05), ("back_shin", 180, 4.5, 0.1, -0.785, 0.785),
        ("back_foot", 120, 3, 0.1, -0.4, 0.785), ("front_thigh", 180, 4.5, 0.1, -1, 0.7),
        ("front_shin", 120, 3, 0.1, -1.2, 0.87), ("front_foot", 60, 1.5, 0.1, -0.5, 0.5)])
    rows("actuator", "halfcheetah", [("back_thigh", 120), ("back_shin", 90), ("back_foot", 60), ("front_thigh", 120),
                                     ("front_shin", 60), ("front_foot", 30)])


def quadruped():
    """Gymnasium's Ant, its aux links counted with the torso; gear as this project's default."""
    print("option", "quadruped", 0.01, -9.81, 1)
    sides = {1: (1, 1), 2: (-1, 1), 3: (-1, -1), 4: (1, -1)}
    at = lambda leg, d: (d * sides[leg][0], d * sides[leg][1], 0.75)
    v = 4 / 3 * math.pi * 0.25**3
    sphere = (5 * v, np.array([0, 0, 0.75]), 0.4 * 5 * v * 0.25**2 * np.eye(3))
    body_row("quadruped", "torso", together([sphere] + [solid(5, (at(leg, 0), at(leg, 0.2), 0.08)) for leg in sides]))
    for leg in sides:
        body_row("quadruped", f"thigh_{leg}", solid(5, (at(leg, 0.2), at(leg, 0.4), 0.08)))
        body_row("quadruped", f"shin_{leg}", solid(5, (at(leg, 0.4), at(leg, 0.8), 0.08)))
        rows("geom", "quadruped", [(f"thigh_{leg}", 1, 0.08), (f"shin_{leg}", 1, 0.08)])
        low, high = (30, 70) if leg in (1, 4) else (-70, -30)
        rows("joint", "quadruped", [(f"hip_{leg}", 0, 1, 1, rad(-30), rad(30)), (f"ankle_{leg}", 0, 1, 1, rad(low), rad(high))])
        rows("actuator", "quadruped", [(f"hip_{leg}", 50), (f"ankle_{leg}", 50)])


def control_suite():
    print("option", "cartpole_swingup", 0.01, -9.81, 1)
    box = 1 / 12 * np.diag([0.3**2 + 0.2**2, 0.4**2 + 0.2**2, 0.4**2 + 0.3**2])
    body_row("cartpole_swingup", "cart", (1, np.array([0, 0, 1.0]), box))
    body_row("cartpole_swingup", "pole", weighing(0.1, (0, 0, 1), (0, 0, 2), 0.045))
    rows("joint", "cartpole_swingup", [("slider", 0, 5e-4, 0, -1.8, 1.8), ("hinge", 0, 2e-6, 0, 0, 0)])
    rows("actuator", "cartpole_swingup", [("push", 10)])
    print("option", "pendulum_swingup", 0.02, -9.81, 0)
    body_row("pendulum_swingup", "pole", (1, np.array([0, 0, 1.1]), 0.4 * 0.05**2 * np.eye(3)))
    rows("joint", "pendulum_swingup", [("hinge", 0, 0.1, 0, 0, 0)])
    rows("actuator", "pendulum_swingup", [("torque", 1)])


control_suite()
hopper_and_walker()
halfcheetah()
quadruped()
