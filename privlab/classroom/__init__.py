"""Teaching with PrivLab: a session that many join, one chart for all, a budget each, and guesses before launches."""
