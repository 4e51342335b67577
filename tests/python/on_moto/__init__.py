"""The enroller on moto, and the same scenarios on moto and on the simulated AWS."""
