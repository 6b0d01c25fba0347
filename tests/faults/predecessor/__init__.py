"""Rows F1, F11, F16 and F17 of the fault plan, run against OpenMSIStream 1.8.8, the predecessor, for comparison.

    python -m tests.faults.predecessor --venv FOLDER --fault F1 --trials 20 --seed 1

What it installs: when FOLDER does not exist, a virtual environment is made there and ``openmsistream==1.8.8`` is
installed into it from the package index (GPL-3.0: it is run as a program of its own; nothing of it is imported or
copied). The system library libsodium must be there. The broker is one real Apache Kafka of `openmsi_core.testing`
(Java 17 and Maven), or the one given with ``--broker``, which must be on 127.0.0.1.

The judge (``oracle.py``) is hashlib alone. Every process that is started is ended by its process id.
"""
