"""What models are judged on: suites, their data sets, the rules that rows must keep."""
