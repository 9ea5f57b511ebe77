"""What estimators share: the way to fit, and what fitted ones answer."""
