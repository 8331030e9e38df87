"""The parts of ``make gpu``, a module each with ``run(context)``; see :mod:`dnar2mae.benchmarks.speed.gpu`."""
