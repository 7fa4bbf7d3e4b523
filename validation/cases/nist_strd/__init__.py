"""Certified nonlinear regression problems of NIST, fitted by our least squares and by peers."""
