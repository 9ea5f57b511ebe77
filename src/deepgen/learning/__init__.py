"""Runs of learning: rules, gradients, optimizers, callbacks, and the loop around them."""
