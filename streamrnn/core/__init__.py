"""Pure mathematics over arrays: no file, clock, thread or log is known here."""
