mkdir -p d/e/i; echo f > d/e/f; echo g > d/g; ln d/e/f d/e/i/same
