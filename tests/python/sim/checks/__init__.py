"""The checks that `drive_sim.py` runs. Each public function is a check, and its name is the sentence."""
