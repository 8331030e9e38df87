"""Suites, their data sets, and the rules that rows must keep."""
