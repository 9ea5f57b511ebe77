"""One layer of units, given its neighbours."""
