"""What people look at: pictures, plots, reports, summaries."""
