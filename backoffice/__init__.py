"""The Django project: wiring and doors. It knows the two applications; neither knows it."""
