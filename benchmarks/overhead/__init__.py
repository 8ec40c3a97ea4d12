"""The parts of the benchmark `step_overhead.py`."""
