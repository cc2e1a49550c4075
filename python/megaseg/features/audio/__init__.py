<<<<<<< HEAD
"""Measures of a film's sound."""
=======
"""Features of sound."""
>>>>>>> acts
