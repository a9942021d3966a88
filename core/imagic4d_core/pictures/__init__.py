"""Pictures: arrays in, RGB(A) arrays or matplotlib figures out. Nothing here opens a data file.

All images are (lines, pixels) with line 0 on top, so a picture of an array needs no flip. Matplotlib is imported inside
functions only and drawn with Agg; PNG and SVG bytes carry no dates, versions or random ids, so the same
input gives the same bytes.
"""
