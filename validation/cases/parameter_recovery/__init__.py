"""Physical parameters of held-out samples against the truth, and laws that are wrong on purpose."""
