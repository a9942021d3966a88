"""Competition of 3Ds from many starts: which of them together explain the images, and which deserve belief."""
