"""What a person types and reads: arguments, messages, tables, the line of a running sweep."""
