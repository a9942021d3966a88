"""Files: headers, IMAGIC, MRC, SPIDER, STAR, locations, atomic writing."""
