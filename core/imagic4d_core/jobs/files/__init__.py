"""Files as they are: copied, appended, converted, selected from, inspected; their headers."""
