"""The parts of the Class page: what a teacher, a participant, and a whole room sees."""
