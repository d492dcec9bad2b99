"""The parts of `train`: settings, session, loop, saved state, resume, followers."""
