"""How the course is built from its sources: notebooks, numbers, figures and slides, and the check that they agree."""
