"""Where a film may be interrupted: the rules, and the breaks that follow from a result."""
