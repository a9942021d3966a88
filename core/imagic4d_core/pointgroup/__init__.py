"""Point groups found in a map: self-rotation, frames, evidence."""
