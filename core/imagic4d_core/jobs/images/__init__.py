"""One operation on every image or volume of a file, all through `operating.operate`."""
