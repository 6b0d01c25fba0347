"""The fault plan: what may go wrong goes wrong here, many times, and the promises are checked after each trial.

::

    python -m tests.faults                         every fault, as often as CI does
    python -m tests.faults --scale release         as often as before a release; goes on where it was stopped
    python -m tests.faults --only F11 --seed 4711  one trial again; its folder stays
    python -m tests.faults --mutations             each seeded mutation must be caught

A fault is a module `fNN_*.py` with a `Fault`; `plan` lists them. A trial gets a seed and an empty folder, breaks
something, and checks what must hold whatever was broken. Files are compared by `tests/kafka/oracle.py`, which imports
nothing of ours.
"""
