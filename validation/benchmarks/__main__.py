"""Run the benchmarks; at present those of the ODE engines."""

from pima_physics.validation.benchmarks.engines import main

if __name__ == "__main__":
    main()
