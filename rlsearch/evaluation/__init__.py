"""Measuring a trained run: accuracy against compute, throughput, and single answers.

`evaluate.py` opens a run and takes each of its policies through each strategy and budget;
`accuracy.py` makes the rows of that (costs, FLOPs, intervals) and their means over seeds, and
`picture.py` draws them. `solve.py` answers one problem and `bench.py` measures the speed of search
against that of plain decoding.
"""
