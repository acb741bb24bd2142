"""edgenet beside other runtimes: one network converted to each, timed in turns, one process each.

Files of this package that run inside other environments (`worker`, `job`, `peer_*`, `convert_onnx`) import neither
edgenet nor each other's packages at import time; `worker.py` is run as a script by the interpreter of each environment.
"""
