"""Laws computed by outside code, where worker processes can import them."""

from __future__ import annotations

import ctypes
import math
import os
import time

import numpy as np
from scipy.integrate import solve_ivp

from pima_physics.parameters import Parameter
from pima_physics.simulator import ExternalSimulator, find


class LsodaOscillator(ExternalSimulator):
    """The damped oscillator, solved by LSODA."""

    coordinates, outputs = {"time": "s"}, {"displacement": "m"}
    amplitude = Parameter("m", value=1.0)
    frequency = Parameter("Hz", value=1.0, min=1e-1, max=1e1)
    damping_ratio = Parameter(value=0.1, min=1e-3, max=1.0)
    golden = find("damped_oscillator").golden
    accuracy = 1e-8

    def compute(self, x, p):
        omega = 2 * math.pi * p.frequency

        def rhs(_, y):
            return [y[1], -(omega**2) * y[0] - 2 * p.damping_ratio * omega * y[1]]

        end = max(float(x.time.max()), 1e-9)
        start = [p.amplitude, 0.0]
        absolute = 1e-11 * abs(p.amplitude) * np.array([1.0, omega])
        run = solve_ivp(
            rhs, (0, end), start, method="LSODA", rtol=1e-10, atol=absolute, dense_output=True
        )
        return {"displacement": run.sol(x.time)[0]}


class Hooke(ExternalSimulator):
    """Linear law in NumPy."""

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa", "energy": "MPa"}
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6)
    offset = Parameter("MPa", value=2.0, vary=False)

    def compute(self, x, p):
        return {
            "stress": p.modulus * x.strain + p.offset,
            "energy": p.modulus * np.square(x.strain) / 2,
        }


class Brittle(Hooke):
    """Fails where it is stiff, and takes its process with it where it is stiffer still."""

    def compute(self, x, p):
        if p.modulus > 5e5:
            os._exit(3)
        if p.modulus > 2e5:
            raise ArithmeticError("no equilibrium")
        return super().compute(x, p)


class Endless(Hooke):
    """Never comes back, and says where it runs."""

    def compute(self, x, p):
        print(os.getpid(), flush=True)
        time.sleep(600)
        return super().compute(x, p)


class Coolant(ExternalSimulator):
    """Mass of a vessel of water and glycol, with densities from CoolProp."""

    coordinates, outputs = {"temperature": "K"}, {"mass": "kg"}
    glycol = Parameter(value=0.3, min=0.1, max=0.5, description="mass fraction")
    volume = Parameter("m^3", value=1.0, min=0.5, max=2.0)
    accuracy = 1e-10

    def compute(self, x, p):
        from CoolProp.CoolProp import PropsSI

        fluid = f"INCOMP::MEG[{p.glycol:.15g}]"
        density = [PropsSI("D", "T", float(t), "P", 1e6, fluid) for t in x.temperature]
        return {"mass": p.volume * np.array(density)}


class Stuck(Hooke):
    """Waits in C for a lock that it holds itself, as does every other thread of Python."""

    def compute(self, x, p):
        lock = ctypes.create_string_buffer(64)
        acquire = ctypes.PyDLL(None).pthread_mutex_lock
        acquire(lock)
        acquire(lock)
        return super().compute(x, p)
