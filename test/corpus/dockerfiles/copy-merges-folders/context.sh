mkdir -m 700 d; echo new > d/new
