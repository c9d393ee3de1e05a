"""Names that both ends of an encrypted classification use."""

PURPOSE = "privlab encrypted inference 1"
RECORD, RESULT = "record", "result"
