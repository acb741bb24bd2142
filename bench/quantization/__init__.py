"""How accurate int8 is: edgenet beside other runtimes, on the same photographs from the same calibration images."""
