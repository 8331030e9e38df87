"""Readers under arbitrary bytes. Each target is one file: ``SEEDS`` to start from and ``check(data, folder)``.

A check writes the bytes to a file in ``folder`` and reads them. The reader must raise a ``Dnar2maeError`` that names
the file, or give what an independent reader gives wherever that one accepts the bytes. Anything else is a finding.
``test_readers.py`` drives the targets with hypothesis in the default tests, ``make fuzz`` with atheris.
"""
