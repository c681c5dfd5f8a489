"""``python -m paceline.scaffold``: the program, where its script is not on the path."""

from paceline.scaffold.program import main

main()
