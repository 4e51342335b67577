"""The checks that `drive_sim.py` runs. A public function is a check; its name is the sentence."""
