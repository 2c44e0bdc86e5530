# SPDX-License-Identifier: Apache-2.0
"""Odd inputs, damage and interruptions, and what the product makes of them.

    python -m experiments.attack --seed=0 --inputs=1000 --kills=100

makes inputs from a seed, runs them through the public routes and prints how
many came out right, refused (by one clear line), as a traceback, wrong or
hanging. Exit status 1 if there is one of the last three.

A file of cases is one route. It makes a `cases.Case` from a generator of random
numbers: what to do, and what is right for it.
"""
